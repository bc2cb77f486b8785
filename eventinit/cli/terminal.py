"""How a start looks in a terminal."""

import sys
import time
from typing import final

from eventinit.events import (
    DownloadProgress,
    EngineDied,
    LifecycleEvent,
    NodeDownloadEvent,
    PhaseFailed,
    PlacementPending,
    PostEvent,
    StartEvent,
)
from eventinit.timeline import Timeline

PROGRESS_INTERVAL_S = 0.5
MEGABYTE = 1_000_000


@final
class Terminal:
    """Writes a line for each event of a start to standard error; answers go to standard output."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last_progress: dict[str, float] = {}
        self._placing = False
        self._failed = False

    def show(self, event: StartEvent) -> None:
        """Write what an event tells."""
        match event:
            case DownloadProgress():
                self._show_progress(event)
            case NodeDownloadEvent():
                pass  # its progress tells as much
            case PlacementPending():
                self._line("placement_group", f"waits: {event.explanation}")
            case PhaseFailed():
                self._show_failure(event)
            case EngineDied():
                self._line("engine", f"has ended: {event.reason}")
            case PostEvent():
                self._placing = self._placing and event.phase != "placement_group"
                self._line(event.phase or "", _how_it_ended(event))
            case LifecycleEvent():
                self._placing = self._placing or event.phase == "placement_group"
                self._line(event.phase or "", "begins")
            case _:
                self._line(event.phase or "", type(event).__name__)

    def say(self, text: str) -> None:
        """Write a line of our own."""
        print(text, file=sys.stderr, flush=True)

    def show_timeline(self, timeline: Timeline) -> None:
        """Draw the phases to scale, and say for how long download and reservation ran at the same time."""
        self.say("\n" + timeline.render())
        overlap_s = timeline.overlap_s("fetch", "placement_group")
        if overlap_s > 0:
            self.say(f"the download and the reservation ran at the same time for {overlap_s:.2f} s")

    def _show_failure(self, event: PhaseFailed) -> None:
        self._line(event.failed_phase, "cancelled" if event.cancelled else f"failed: {event.message}")
        if not self._failed:
            self._failed = True
            self._line("cleaning up", "what cannot be interrupted has to end first, such as the start of Ray or vLLM")

    def _show_progress(self, event: DownloadProgress) -> None:
        now = time.monotonic()
        over = event.bytes_done >= event.bytes_total
        if not over and now - self._last_progress.get(event.node_id, 0.0) < PROGRESS_INTERVAL_S:
            return
        self._last_progress[event.node_id] = now
        share = 100 if event.bytes_total == 0 else 100 * event.bytes_done // event.bytes_total
        done, total = event.bytes_done / MEGABYTE, event.bytes_total / MEGABYTE
        rate = event.bytes_per_second / MEGABYTE
        files = f"{event.files_done} of {event.files_total} files"
        where = f"  on node {event.node_id}" if event.node_id else ""
        self._line("download", f"{share:3d} %  {done:.0f} of {total:.0f} MB  {files}  {rate:.0f} MB/s{where}")
        if over and self._placing and not where:
            self._line("download", "this node is done; the group says which others need the files")

    def _line(self, phase: str, text: str) -> None:
        self.say(f"{time.monotonic() - self._began:7.2f} s  {phase:<16} {text}")


def _how_it_ended(event: PostEvent) -> str:
    reasons = f" ({'; '.join(event.outcome.reasons)})" if event.outcome.reasons else ""
    return f"{event.outcome.status} after {event.outcome.seconds:.2f} s{reasons}"
