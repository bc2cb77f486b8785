"""What a cluster has free, and whether it grows: what tells why a placement group waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """What a living node has.

    Attributes:
        node_id: The cluster's own id for it.
        name: What a person knows it by, such as its address.
        resources: All its resources, free or not.
        free: What is free of them; what is not named is used up.
    """

    node_id: str
    name: str
    resources: Mapping[str, float]
    free: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a cluster has at a moment, and what may join it.

    Attributes:
        nodes: The living nodes.
        autoscaler: Whether an autoscaler runs; ``unknown`` for as long as the cluster has not told.
        starting: How many nodes of which type the autoscaler is starting.
        refused: Whether the autoscaler has said that no nodes which it may start make room for the group.
    """

    nodes: tuple[NodeCapacity, ...]
    autoscaler: Literal["none", "running", "unknown"]
    starting: Mapping[str, int]
    refused: bool = False
