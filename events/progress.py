"""What happens while a phase is under way."""

from eventinit.events.lifecycle import StartEvent


class DownloadProgress(StartEvent):
    """How far the download is; at most ten a second.

    Attributes:
        node_id: The cluster's id of the node that fetches, or an empty string for this one.
        bytes_done: Bytes that are there.
        bytes_total: Bytes there will be.
        files_done: Files that are complete.
        files_total: Files there will be.
        bytes_per_second: The mean rate since the download began; what was there before does not count.
        remaining_s: How many seconds the rest takes at this rate; None when nothing has come yet.
    """

    phase = "download"

    node_id: str = ""
    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    bytes_per_second: float
    remaining_s: float | None = None
