"""A start on many nodes: twice the nodes take no more than twice the work, and what people read stays short."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from eventinit import LLMConfig, NodeInitializationContext
from eventinit.errors import InfeasibleGroupError, ModelPathError, NodeFetchError, NodeLostError, PlacementError
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


def forget_nodes_one_by_one(nodes: int) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="tiny"))
    context.custom_data["nodes"] = {}
    for index in range(nodes):
        context.custom_data["nodes"][f"node-{index}"] = {"rank": index}
        context.custom_data["nodes"][f"node-{index}"]["rank"] = 0
    for index in range(nodes):
        del context.custom_data["nodes"][f"node-{index}"]


def test_twice_the_nodes_in_a_dict_of_the_context_take_twice_the_work() -> None:
    work = [calls_of(forget_nodes_one_by_one, nodes) for nodes in (FEW, 2 * FEW)]
    assert work[1] < 2.2 * work[0]


def test_the_messages_about_a_thousand_nodes_name_three() -> None:
    lost = NodeLostError({index: f"id-{index}" for index in range(1000)})
    elsewhere = ModelPathError("s3://m", Path("/here"), {f"id-{index}": Path(f"/{index}") for index in range(1000)})
    too_many = InfeasibleGroupError([{"GPU": 8.0}] * 1000, "PACK", "no node has GPU: 8")
    assert "bundle 2 (node id-2) and 997 more" in str(lost)
    assert "/2 on node id-2 and 997 more" in str(elsewhere)
    assert "[{'GPU': 8.0}, {'GPU': 8.0}, {'GPU': 8.0} and 997 more]" in str(too_many)
    assert (len(lost.lost), len(elsewhere.elsewhere), len(too_many.bundles)) == (1000, 1000, 1000)


def test_a_traceback_notes_ten_of_a_thousand_nodes_that_failed_beside() -> None:
    error = PlacementError("the first").attach([NodeFetchError(f"id-{index}", "gone") for index in range(1000)])
    assert len(error.also) == 1000
    assert error.__notes__[0] == "also: NodeFetchError: node id-0: gone"
    assert error.__notes__[10:] == ["also: 990 more, which its attribute `also` has"]
