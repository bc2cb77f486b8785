"""A thread that lives until it is told to end."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar, final

T = TypeVar("T")
_Calls = SimpleQueue[Callable[[], None] | None]


@final
class OwnThread:
    """A daemon thread that runs calls one after another, and idles in between until it is ended.

    Linux kills what a thread has started when that thread ends, if it was asked to (the parent death signal). Ray asks
    for it: its processes go with the very thread that started Ray, and the program with them a minute later. So
    whatever may start Ray runs in one of these; a pooled worker thread would end at any time.

    It ends with its last reference as well.
    """

    def __init__(self, name: str) -> None:
        self._calls: _Calls = SimpleQueue()
        self._ended = False
        self._turn = threading.Lock()
        threading.Thread(target=_run, args=(self._calls,), name=name, daemon=True).start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run a call after those submitted before, and return at once what will hold its result.

        Raises:
            RuntimeError: The thread was told to end.
        """
        future: Future[T] = Future()
        with self._turn:
            if self._ended:
                raise RuntimeError("the thread was told to end and takes no more calls")
            self._calls.put(lambda: settle(future, work))
        return future

    def end(self) -> None:
        """End the thread after the calls submitted so far; twice is harmless."""
        with self._turn:
            self._ended = True
            self._calls.put(None)

    def __del__(self) -> None:
        self._calls.put(None)


def settle(future: Future[T], work: Callable[[], T]) -> None:
    """Make a future hold what a call returns or raises, unless the future was cancelled before."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the future is asked
        future.set_exception(error)
    else:
        future.set_result(result)


def _run(calls: _Calls) -> None:
    # Refers to the queue only, so that the object may go while its thread waits.
    while (call := calls.get()) is not None:
        call()
        del call
