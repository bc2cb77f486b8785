"""What a start works out by itself takes no more than twice as long with twice the nodes."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from eventinit.phases.fitting import candidates, why_never_placed
from eventinit.phases.pending import describe
from eventinit.ports import Bundle, Capacity, ClusterNode, GroupPlacement, NodeCapacity, Strategy

FEW = 100
STRATEGIES: tuple[Strategy, ...] = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


def calls_of(function: Callable[..., object], *arguments: object) -> int:
    """How many calls a function makes in all, which tells its work without a clock."""
    count = 0

    def note(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


def cluster(nodes: int) -> Capacity:
    """Nodes as Ray has them, each with a resource that only it has; every other one is in use."""
    resources = [{"CPU": 8.0, "GPU": 8.0, f"node:{index}": 1.0} for index in range(nodes)]
    used = [amounts | {"GPU": 0.0} if index % 2 else amounts for index, amounts in enumerate(resources)]
    capacities = (NodeCapacity(f"id-{i}", f"node-{i}", resources[i], used[i]) for i in range(nodes))
    return Capacity(tuple(capacities), "none", {})


def alike(_index: int) -> Bundle:
    return {"GPU": 8.0}


def on_a_node_each(index: int) -> Bundle:
    return {"GPU": 8.0, f"node:{index}": 0.001}


def assess(nodes: int, bundle: Callable[[int], Bundle], strategy: Strategy) -> None:
    capacity, bundles = cluster(nodes), tuple(map(bundle, range(nodes)))
    why_never_placed(bundles, strategy, [node.resources for node in capacity.nodes])
    candidates(bundles, capacity.nodes, [ClusterNode(node.node_id, {}, is_local=False) for node in capacity.nodes])
    describe("start", GroupPlacement(bundles, (None,) * nodes, strategy), capacity, 1.0)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("bundle", [alike, on_a_node_each])
def test_twice_the_nodes_take_twice_the_work_to_explain_a_pending_group(
    bundle: Callable[[int], Bundle], strategy: Strategy
) -> None:
    work = [calls_of(assess, nodes, bundle, strategy) for nodes in (FEW, 2 * FEW)]
    assert work[1] < 2.2 * work[0]
