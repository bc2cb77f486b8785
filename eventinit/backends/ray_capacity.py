"""What a Ray cluster has free, and what its autoscaler is about to add.

Ray has no public function for either. Both versions of the autoscaler leave a report in the control store, and so does
the one that runs everywhere and only mirrors the nodes there are. What tells them apart:

- Version 1 names the type of each node; the mirror makes one up, ``node_`` and the node's id.
- Version 2 (a mark in the store says that it runs) starts its nodes with the name of their type; a node that was
  started by hand has none.
"""

import json
from collections import Counter
from importlib import import_module
from typing import Any, Final

from eventinit.backends.ray_control import ANSWER_S
from eventinit.backends.ray_session import load_ray
from eventinit.ports import Capacity, NodeCapacity

_REPORT_OF_V1: Final = b"__autoscaling_status"
_MADE_UP_TYPE: Final = "node_"


def look(client: Any, group: Any = None) -> Capacity:
    """Return what the cluster has now, and what its autoscaler does about a pending group.

    Args:
        client: Ray's client of the control store.
        group: The group that waits, if there is one.
    """
    protocol: Any = import_module("ray.core.generated.autoscaler_pb2")
    status = protocol.GetClusterStatusReply.FromString(client.get_cluster_status(timeout_s=ANSWER_S))
    states = [node for node in status.cluster_resource_state.node_states if node.status != protocol.DEAD]
    nodes = tuple(_node(state) for state in states)
    if _has_none():
        return Capacity(nodes, "none", {})
    if not _runs_version_2(client):
        return _as_v1_reports(nodes, client.internal_kv_get(_REPORT_OF_V1, None, timeout=ANSWER_S))
    if status.autoscaling_state.autoscaler_state_version and not any(state.ray_node_type_name for state in states):
        return Capacity(nodes, "none", {})
    return _as_v2_reports(nodes, status.autoscaling_state, group)


def _node(state: Any) -> NodeCapacity:
    resources, free = dict(state.total_resources), dict(state.available_resources)
    return NodeCapacity(state.node_id.hex(), state.node_ip_address, resources, free)


def _has_none() -> bool:
    """Return whether ``ray.init()`` has started the cluster in this process, which makes one without an autoscaler."""
    # Public Ray does not tell whether ray.init() has started the cluster or joined one.
    node = load_ray()._private.worker._global_node
    return node is not None and bool(node.is_head())


def _runs_version_2(client: Any) -> bool:
    names = load_ray()._raylet
    key, namespace = names.GCS_AUTOSCALER_V2_ENABLED_KEY.encode(), names.GCS_AUTOSCALER_STATE_NAMESPACE.encode()
    return bool(client.internal_kv_get(key, namespace, timeout=ANSWER_S) == b"1")


def _as_v2_reports(nodes: tuple[NodeCapacity, ...], state: Any, group: Any) -> Capacity:
    starting: Counter[str] = Counter(instance.ray_node_type_name for instance in state.pending_instances)
    for request in state.pending_instance_requests:
        starting[request.ray_node_type_name] += request.count
    # The details are the group's id, strategy and state, as "<id>:PACK|PENDING".
    refused = {str(request.details).partition(":")[0] for request in state.infeasible_gang_resource_requests}
    is_refused = group is not None and group.id.hex() in refused
    return Capacity(nodes, "running" if state.autoscaler_state_version else "unknown", dict(starting), is_refused)


def _as_v1_reports(nodes: tuple[NodeCapacity, ...], found: bytes | None) -> Capacity:
    report: dict[str, Any] = json.loads(found).get("autoscaler_report", {}) if found else {}
    types: dict[str, str] = report.get("node_type_mapping") or {}
    if not types:
        return Capacity(nodes, "unknown", {})
    if all(kind == _MADE_UP_TYPE + node for node, kind in types.items()):
        return Capacity(nodes, "none", {})
    starting: Counter[str] = Counter(report["pending_launches"])
    starting.update(kind for _, kind, _ in report["pending_nodes"])
    return Capacity(nodes, "running", dict(starting))
