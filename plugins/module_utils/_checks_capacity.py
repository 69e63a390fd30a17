# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capacity: what a deploy adds, surge included, against the tier's quota and against what the nodes have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _quantity
from ansible_collections.barberpro.platform.plugins.module_utils._checks_cluster import condition
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    plural,
    subject,
)
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import NODE_SECONDS

REVISION_LABEL = "barberpro.platform/revision"
NEXT_STEP_QUOTA = "choose a larger tier or a smaller market size, or remove what the tenant does not need"
NEXT_STEP_NODES = "add a node, or scale something down; where nodes come by themselves, set pipeline_node_timeout"
# The quota's key for pods that have ended, too.
ALL_PODS = "count/pods"
# What pods ask of nodes.
DISK = "ephemeral-storage"
ROOM = ("cpu", "memory", DISK)
# Taints that keep ordinary pods away.
REPELLING = ("NoSchedule", "NoExecute")


@check(
    "capacity",
    subject("{namespace}"),
    namespace=Param("Namespace of the tenant.", required=True),
    requests=Param(
        "What this deploy adds, surge included: C(cpu), C(memory), C(ephemeral-storage), C(pods) and C(storage).", type="dict", required=True
    ),
    limits=Param("The limits it adds: C(cpu), C(memory) and C(ephemeral-storage).", type="dict", default={}),
    quota=Param("The C(hard) dictionary of the tier's quota. By default that of the live quotas of the namespace.", type="dict"),
    revision=Param("Revision (C(r4)) whose pods, if they already run, are not counted twice."),
    largest=Param("C(cpu), C(memory) and C(ephemeral-storage) of the biggest single pod, which must fit on one node.", type="dict", default={}),
)
def capacity(params: Mapping[str, Any], clients: Clients) -> str:
    """What the deploy adds fits into the quota beside what runs, and into what the schedulable nodes have left, if no others come (node_timeout)."""
    namespace = params["namespace"]
    every = clients.resources.list("v1", "Pod")
    pods = [pod for pod in every if _runs(pod)]
    ours = [pod for pod in every if pod["metadata"].get("namespace") == namespace]
    again = [pod for pod in ours if params["revision"] and (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == params["revision"]]
    beside = [pod for pod in ours if pod not in again]
    adds = _added(params)
    quota = params["quota"] if params["quota"] is not None else _live_quota(clients, namespace)
    free = free_by_node(clients.resources.list("v1", "Node"), [pod for pod in pods if pod not in again])
    try:
        tightest = _check_quota(adds, beside, quota, namespace, clients)
        short = _short_of_nodes(adds, params["largest"], free, clients.client.node_timeout)
    except CheckFailed as error:
        # Pods of an earlier revision that still drain count until they are gone; nothing else changes by waiting.
        ending = sum(1 for pod in beside if _runs(pod) and pod["metadata"].get("deletionTimestamp"))
        if not ending:
            raise CheckFailed(error.reason, error.next_step, final=True) from error
        raise CheckFailed(f"{error.reason}; {plural(ending, 'pod')} of that will have ended soon", "wait a minute and deploy again") from error
    cpu = sum((node["cpu"] for node in free.values()), Decimal(0))
    memory = sum((node["memory"] for node in free.values()), Decimal(0))
    asked = f"asks {_quantity.show(adds['requests.cpu'], False)} CPU and {_quantity.show(adds['requests.memory'], True)}"
    left = f"{plural(len(free), 'node')} with {_quantity.show(cpu, False)} CPU and {_quantity.show(memory, True)} free"
    return f"{asked}; {left}{short}" + (f"; quota {tightest}" if tightest else "; no quota")


def _added(params: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what the deploy adds by quota key. Raises CheckFailed for what is not a quantity."""
    found: dict[str, Decimal] = {"requests.cpu": Decimal(0), "requests.memory": Decimal(0)}
    entries = [("pods" if key == "pods" else f"requests.{key}", value) for key, value in params["requests"].items()]
    entries += [(f"limits.{key}", value) for key, value in params["limits"].items()]
    for key, value in entries:
        try:
            found[key] = _quantity.number(value)
        except ValueError as error:
            raise CheckFailed(f"capacity: {key}: {error}", "write it as Kubernetes does, for example 250m or 128Mi", final=True) from error
    if "pods" in found:
        found[ALL_PODS] = found["pods"]
    return found


def _runs(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod takes room on a node: one that has ended only counts as an object."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _live_quota(clients: Clients, namespace: str) -> dict[str, Any]:
    """Return the tightest hard value by key over the quotas of a namespace that apply to all pods."""
    hard: dict[str, Any] = {}
    for quota in clients.resources.list("v1", "ResourceQuota", namespace):
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue
        for key, value in (spec.get("hard") or {}).items():
            if key not in hard or _quantity.number(value) < _quantity.number(hard[key]):
                hard[key] = value
    return hard


def _check_quota(
    adds: Mapping[str, Decimal], beside: Sequence[Mapping[str, Any]], quota: Mapping[str, Any], namespace: str, clients: Clients
) -> str:
    """Return the key that is nearest to its limit as text. Raises CheckFailed with every key that has no room: what is asked, used, allowed.

    A key of which the deploy adds nothing counts too: a smaller tier must hold what is there already, the tenant's own objects included.
    """
    used = _used(beside, quota, namespace, clients)
    ranked, problems = [], []
    # A quota may name requests without the prefix.
    for key in sorted({*adds, *(f"requests.{key}" if key in ("cpu", "memory", "storage") else key for key in quota)}):
        limit = quota.get(key, quota.get(key.removeprefix("requests.")))
        if limit is None:
            continue
        hard, have, add = _quantity.number(limit), used.get(key, Decimal(0)), adds.get(key, Decimal(0))
        binary = "memory" in key or "storage" in key
        shown = [_quantity.show(value, binary) for value in (add, have, hard)]
        if have + add > hard:
            asked = f"this deploy adds {shown[0]} to {shown[1]} in use" if add else f"{shown[1]} in use"
            problems.append(f"{key}: {asked}, and {shown[2]} are allowed")
        elif key in adds:
            ranked.append(((have + add) / hard if hard else Decimal(0), f"{key} at {_quantity.show(have + add, binary)} of {shown[2]}"))
    if problems:
        raise CheckFailed(f"quota of {namespace}: {'; '.join(problems)}", NEXT_STEP_QUOTA)
    return max(ranked)[1] if ranked else ""


def _used(beside: Sequence[Mapping[str, Any]], quota: Mapping[str, Any], namespace: str, clients: Clients) -> dict[str, Decimal]:
    """Return what is in use by quota key: of pods and claims as they are now, of all else as the live quotas count it."""
    used: dict[str, Decimal] = {}
    for live in clients.resources.list("v1", "ResourceQuota", namespace):
        if not (live.get("spec") or {}).get("scopes") and not (live.get("spec") or {}).get("scopeSelector"):
            used.update({key: _quantity.number(value) for key, value in ((live.get("status") or {}).get("used") or {}).items()})
    # What the controller counted a moment ago is not used where it can be counted now.
    used = {key: value for key, value in used.items() if key in quota and not key.startswith(("requests.", "limits.")) and key not in ("cpu", "memory")}
    running = [pod for pod in beside if _runs(pod)]
    used |= {"pods": Decimal(len(running)), ALL_PODS: Decimal(len(beside))}
    for pod in running:
        for kind in ("requests", "limits"):
            for key, value in pod_resources(pod, kind).items():
                used[f"{kind}.{key}"] = used.get(f"{kind}.{key}", Decimal(0)) + value
    if {"requests.storage", "persistentvolumeclaims"} & quota.keys():
        claims = clients.resources.list("v1", "PersistentVolumeClaim", namespace)
        sizes = [((claim.get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage") for claim in claims]
        used["requests.storage"] = sum((_quantity.number(size) for size in sizes), Decimal(0))
        used["persistentvolumeclaims"] = Decimal(len(claims))
    return used


def _short_of_nodes(
    adds: Mapping[str, Decimal], largest: Mapping[str, Any], free: Mapping[str, Mapping[str, Decimal]], node_timeout: float
) -> str:
    """Return what the nodes that are there lack, where others come ("" when nothing). Raises CheckFailed where none do."""
    try:
        _check_nodes(adds, largest, free)
    except CheckFailed as error:
        if node_timeout <= NODE_SECONDS:
            raise
        return f" ({error.reason}: a node has to come within {node_timeout:g} s)"
    return ""


def _check_nodes(adds: Mapping[str, Decimal], largest: Mapping[str, Any], free: Mapping[str, Mapping[str, Decimal]]) -> None:
    """Raise CheckFailed unless the nodes together have room, and one of them for the largest pod."""
    if not free:
        raise CheckFailed("no node is ready and schedulable", "see kubectl get nodes")
    for key in (*ROOM, "pods"):
        need = adds.get("pods" if key == "pods" else f"requests.{key}", Decimal(0))
        left = sum((node[key] for node in free.values()), Decimal(0))
        if need > left:
            shown = [_quantity.show(value, key in ("memory", DISK)) for value in (need, left)]
            reason = f"nodes: {key}: this deploy needs {shown[0]}, and {shown[1]} are free on {plural(len(free), 'node')}"
            raise CheckFailed(reason, NEXT_STEP_NODES)
    wants = {key: _quantity.number(largest.get(key)) for key in ROOM}
    if not any(all(node[key] >= wants[key] for key in wants) for node in free.values()):
        shown_pod = f"{_quantity.show(wants['cpu'], False)} CPU and {_quantity.show(wants['memory'], True)}"
        if wants[DISK]:
            shown_pod = f"{shown_pod} and {_quantity.show(wants[DISK], True)} of disk"
        raise CheckFailed(f"nodes: the largest pod needs {shown_pod}, and no single node has that free", NEXT_STEP_NODES)


def free_by_node(nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Decimal]]:
    """Return what is left of ``cpu``, ``memory``, ``ephemeral-storage`` and ``pods`` by node that is ready, schedulable and without repelling taints.

    A node that does not say how much disk it has is not judged by it.
    """
    free: dict[str, dict[str, Decimal]] = {}
    for node in nodes:
        spec, status = node.get("spec") or {}, node.get("status") or {}
        repelled = any(taint.get("effect") in REPELLING for taint in spec.get("taints") or [])
        if spec.get("unschedulable") or repelled or not condition(node, "Ready"):
            continue
        allocatable = status.get("allocatable") or {}
        left = {key: _quantity.number(allocatable.get(key)) for key in (*ROOM, "pods")}
        free[node["metadata"]["name"]] = left if DISK in allocatable else {**left, DISK: Decimal("Infinity")}
    for pod in pods:
        room = free.get((pod.get("spec") or {}).get("nodeName") or "")
        if room is None:
            continue
        asked = pod_resources(pod, "requests")
        for key in ROOM:
            room[key] -= asked.get(key, Decimal(0))
        room["pods"] -= 1
    return free


def pod_resources(pod: Mapping[str, Any], kind: str) -> dict[str, Decimal]:
    """Return the effective ``requests`` or ``limits`` of a pod, as the scheduler counts them.

    Containers and restartable init containers (sidecars) add up; an ordinary init container counts where it alone is larger. What is
    said of the pod as a whole (pod-level resources) takes their place; the pod's overhead is added.
    """
    spec = pod.get("spec") or {}
    total: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or []:
        own = _container(container, kind)
        if container.get("restartPolicy") == "Always":
            for key, value in own.items():
                sidecars[key] = sidecars.get(key, Decimal(0)) + value
            own = {}
        for key in {*own, *sidecars}:
            peak[key] = max(peak.get(key, Decimal(0)), own.get(key, Decimal(0)) + sidecars.get(key, Decimal(0)))
    for container in spec.get("containers") or []:
        for key, value in _container(container, kind).items():
            total[key] = total.get(key, Decimal(0)) + value
    overhead = {key: _quantity.number(value) for key, value in (spec.get("overhead") or {}).items()}
    counted = {
        key: max(total.get(key, Decimal(0)) + sidecars.get(key, Decimal(0)), peak.get(key, Decimal(0))) for key in {*total, *peak, *sidecars}
    } | _container(spec, kind)
    return {key: counted.get(key, Decimal(0)) + overhead.get(key, Decimal(0)) for key in {*counted, *overhead}}


def _container(container: Mapping[str, Any], kind: str) -> dict[str, Decimal]:
    """Return the requests or limits of one container, or of a pod's spec as a whole, as numbers."""
    return {key: _quantity.number(value) for key, value in ((container.get("resources") or {}).get(kind) or {}).items()}
