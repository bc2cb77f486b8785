"""How fast bytes come from the Hub: counted, and held back where there is a limit."""

import threading
from typing import Any, final

from eventinit.downloads.bandwidth import Bandwidth


@final
class Pace:
    """Counts what all transfers of a fetch bring, and lets them wait so that they keep the limit together."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bandwidth = Bandwidth(bytes_per_s)
        self._never = threading.Event()
        self._lock = threading.Lock()
        self.bytes_fetched = 0

    def arrived(self, count: int) -> None:
        """Count bytes, and return when more may come."""
        with self._lock:
            self.bytes_fetched += max(count, 0)
        self._bandwidth.take(max(count, 0), self._never)

    def bar_class(self) -> Any:
        """Return a progress bar class for huggingface_hub which shows nothing and tells this object."""
        from huggingface_hub.utils.tqdm import tqdm

        pace = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                kwargs["disable"] = True
                super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]

            def update(self, n: float | None = 1) -> None:
                pace.arrived(int(n or 0))

        return Bar
