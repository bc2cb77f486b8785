"""What happens on each node that fetches the model's files."""

from pathlib import Path

from eventinit.events.lifecycle import ContextEvent
from eventinit.ports import DownloadMode


class NodeDownloadEvent(ContextEvent):
    """A step of the fetch on one node, emitted on that node; the context is read-only.

    On the node of the service it reaches every subscriber of the bus. On another node it reaches those that the
    configuration names, which are built there.

    Attributes:
        node_id: The cluster's id of the node that fetches, or an empty string for the node of the service.
        mode: What the node fetches.
        is_local: Whether it is the node of the service.
    """

    phase = "download"

    node_id: str
    mode: DownloadMode
    is_local: bool


class PreNodeDownload(NodeDownloadEvent):
    """A node is about to fetch the model's files."""

    hook = "on_pre_node_download"


class PostNodeDownload(NodeDownloadEvent):
    """A node has the files.

    Attributes:
        path: The model's folder on that node.
        source: The URI, repository id or folder that the files came from.
        files: How many files of the mode the folder holds.
        bytes_total: The size of these files.
        bytes_fetched: How many bytes came over the network; 0 when everything was there already.
        seconds: How long the fetch took.
    """

    hook = "on_post_node_download"

    path: Path
    source: str
    files: int
    bytes_total: int
    bytes_fetched: int
    seconds: float
