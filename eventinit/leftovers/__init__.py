"""What starts leave behind that were killed, so that none of their undos ran: found, judged and removed.

Only what is certainly ours and whose owner has certainly gone is ever removed. Everything here blocks.
"""

from collections.abc import Iterator

from eventinit.leftovers.folders import left_folders
from eventinit.leftovers.groups import cluster_groups
from eventinit.leftovers.leftover import Leftover
from eventinit.leftovers.partial_files import left_partials
from eventinit.leftovers.processes import left_processes

__all__ = ["Leftover", "cluster_groups", "left_here"]


def left_here() -> Iterator[Leftover]:
    """Yield what starts have on this machine, in the order in which it can be removed."""
    yield from left_processes()
    yield from left_folders()
    yield from left_partials()
