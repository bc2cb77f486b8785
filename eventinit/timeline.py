"""When each phase of a start ran."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

from eventinit import clock


@dataclass(slots=True)
class Span:
    """One phase, or a step inside one, on the timeline of a start.

    Attributes:
        phase: Its name, such as ``download``.
        began_s: When it began, in seconds since the start began.
        ended_s: When it ended, likewise; None while it runs.
        status: ``running``, or how it ended: ``completed``, ``vetoed``, ``supplied``, ``skipped``, ``failed`` or
            ``cancelled``.
    """

    phase: str
    began_s: float
    ended_s: float | None = None
    status: str = "running"

    @property
    def seconds(self) -> float:
        """How long it took; 0 while it runs."""
        return 0.0 if self.ended_s is None else self.ended_s - self.began_s


@final
@dataclass(slots=True)
class Timeline:
    """The phases of one start in the order in which they began.

    Attributes:
        spans: One for each phase, and for each step that is timed by itself.
    """

    spans: list[Span] = field(default_factory=list[Span])
    _zero: float = field(default_factory=clock.monotonic)

    def begin(self, phase: str) -> Span:
        """Add a phase that begins now."""
        span = Span(phase, clock.monotonic() - self._zero)
        self.spans.append(span)
        return span

    def end(self, span: Span, status: str) -> None:
        """Note that a phase ends now, and how."""
        span.ended_s = clock.monotonic() - self._zero
        span.status = status

    @contextmanager
    def timed(self, phase: str) -> Generator[None]:
        """Add a span for a step inside a phase; it lasts as long as the block, whose error makes it ``failed``."""
        span = self.begin(phase)
        status = "failed"
        try:
            yield
            status = "completed"
        finally:
            self.end(span, status)

    def span(self, phase: str) -> Span | None:
        """Return the span of a phase, or None when it has not begun."""
        return next((span for span in self.spans if span.phase == phase), None)

    def overlap_s(self, first: str, second: str) -> float:
        """Return for how many seconds two phases ran at the same time; 0 while one of them has not ended."""
        one, other = self.span(first), self.span(second)
        if one is None or other is None or one.ended_s is None or other.ended_s is None:
            return 0.0
        return max(0.0, min(one.ended_s, other.ended_s) - max(one.began_s, other.began_s))

    def render(self, width: int = 60) -> str:
        """Return a bar for each phase, drawn to one scale of ``width`` characters."""
        total = max((span.ended_s or 0.0 for span in self.spans), default=0.0) or 1.0
        return "\n".join(_bar(span, total, width) for span in self.spans)


def _bar(span: Span, total: float, width: int) -> str:
    ended = total if span.ended_s is None else span.ended_s
    first = min(int(span.began_s / total * width), width - 1)
    length = max(1, round((ended - span.began_s) / total * width))
    bar = (" " * first + "#" * length)[:width]
    return f"{span.phase:<16}|{bar:<{width}}| {span.began_s:7.2f} s to {ended:7.2f} s  {span.status}"
