"""What happens while a phase is under way."""

from collections.abc import Mapping

from eventinit.events.lifecycle import StartEvent


class DownloadProgress(StartEvent):
    """How far the download of one node is; at most ten a second, and a hundred of all other nodes together.

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


class PlacementPending(StartEvent):
    """The placement group is not ready yet; after a second, and then every two.

    Attributes:
        bundles: How many bundles the group has.
        waiting: The bundles that what is free has no room for.
        free: What is free of what they wait for, by the cluster's id of the node; of the few nodes with most of it.
        starting: How many nodes of which type an autoscaler is starting.
        waited_s: For how many seconds the group has been waited for.
        explanation: The same in a sentence; the error says it when the group does not become ready in time.
    """

    phase = "placement_group"

    bundles: int
    waiting: tuple[Mapping[str, float], ...] = ()
    free: Mapping[str, Mapping[str, float]] = {}
    starting: Mapping[str, int] = {}
    waited_s: float = 0.0
    explanation: str
