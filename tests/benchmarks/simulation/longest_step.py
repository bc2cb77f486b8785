"""How long a task holds the event loop."""

import gc
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any, Literal, Self, final

import trio


@final
class LongestStep(trio.abc.Instrument):
    """Notes the longest turn of a task, in processor time, without the garbage that is collected meanwhile.

    Attributes:
        longest_s: How long it was.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._began = inf  # it is added in the middle of a step
        self._collecting_since = 0.0

    @classmethod
    @contextmanager
    def noted(cls) -> Generator[Self]:
        """Note the steps within the block."""
        steps = cls()
        trio.lowlevel.add_instrument(steps)
        gc.callbacks.append(steps.note_collection)
        try:
            yield steps
        finally:
            gc.callbacks.remove(steps.note_collection)
            trio.lowlevel.remove_instrument(steps)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Begin to measure."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Compare with the longest so far."""
        self.longest_s = max(self.longest_s, time.thread_time() - self._began)

    def note_collection(self, phase: Literal["start", "stop"], info: Mapping[str, Any]) -> None:
        """Leave a collection out of the step it falls into."""
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._began += time.thread_time() - self._collecting_since
