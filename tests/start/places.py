"""The places at which a start calls what is not its own, and failures there."""

import inspect
from collections import Counter
from typing import Any, final

from eventinit.testing import FakeEngine

UNDOING = {"stop", "remove_group", "disconnect"}
"""The methods of the fakes that take something back; they do it even when they fail."""


@final
class Places:
    """The places at which a start calls what is not its own, each by its name and the number of the call.

    Attributes:
        passed: Where it has been, in order.
        failures: What is raised at some of them.
    """

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failures: dict[str, BaseException] = {}
        self._calls: Counter[str] = Counter()

    def begin(self, failures: dict[str, BaseException] | None = None) -> None:
        """Forget where it has been, and fail from now on as told."""
        self.passed, self.failures = [], failures or {}
        self._calls.clear()

    def come_to(self, name: str) -> None:
        """Note a call, and fail if it is to fail there."""
        self._calls[name] += 1
        place = f"{name} #{self._calls[name]}"
        self.passed.append(place)
        if place in self.failures:
            raise self.failures[place]


@final
class Noted:
    """Stands before a fake and notes the calls of its methods."""

    def __init__(self, fake: Any, name: str, places: Places) -> None:
        self._fake = fake
        self._name = name
        self._places = places

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._fake, attribute)
        place = f"{self._name}.{attribute}"

        def call(*args: Any) -> Any:
            self._places.come_to(place)
            return value(*args)

        async def call_async(*args: Any) -> Any:
            if attribute not in UNDOING:
                self._places.come_to(place)
            result = await value(*args)
            if attribute in UNDOING:
                self._places.come_to(place)
            return Noted(result, "running", self._places) if isinstance(result, FakeEngine) else result

        if inspect.iscoroutinefunction(value):
            return call_async
        return call if inspect.ismethod(value) else value
