# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an object ready? A pure function of the object and what belongs to it.

The rules are those of kstatus (sigs.k8s.io/cli-utils), with what it leaves open decided for a deploy: a Job is ready when it is complete
(kstatus: when it runs), a pod that has failed has failed (kstatus: is current), what is being deleted is in progress. Beyond kstatus the
pods of a workload are looked at, and routes, gateways and custom resources with a Ready condition have to say that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _workloads
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import (
    FAILED,
    NODE_SECONDS,
    PROGRESS,
    READY,
    Obj,
    Readiness,
    conditions_of,
    failed,
    last_seen,
    progress,
    ready,
    seconds_since,
    status_of,
)
from ansible_collections.barberpro.platform.plugins.module_utils._pods import pod_problem, worst

# A refusal by a gateway may be about a listener or backend that is just being made.
ROUTE_SECONDS = 10.0


@dataclass(frozen=True)
class Related:
    """What was seen beside an object: pods, ReplicaSets and warning events of its namespace, the server's time (epoch seconds), and for how many
    seconds a pod may be without a node here."""

    pods: Sequence[Obj] = ()
    replica_sets: Sequence[Obj] = ()
    events: Sequence[Obj] = ()
    now: float | None = None
    node_seconds: float = NODE_SECONDS


def assess(obj: Obj, related: Related | None = None) -> Readiness:
    """Return the readiness of an object. A final problem of its pods comes before a vaguer word of its controller."""
    related = related or Related()
    found = _generic(obj)
    if found is None:
        rule = _RULES.get(_group_kind(obj), _conditions)
        found = rule(obj, related)
    if found.outcome == READY or _group_kind(obj) not in _WITH_PODS:
        return found
    pods = own_pods(obj, related)
    problems = [item for item in (_refused_creation(obj, related, pods), worst(pods, related.events, related.now, related.node_seconds)) if item is not None]
    problem = next((item for item in problems if item.outcome == FAILED), next(iter(problems), None))
    if problem is not None and (problem.outcome == FAILED or found.outcome == PROGRESS):
        return problem
    return found


def own_pods(obj: Obj, related: Related) -> list[Obj]:
    """Return the pods of a workload by owner uid; for a Deployment those of its newest ReplicaSet."""
    uid = obj["metadata"].get("uid")
    if obj.get("kind") == "Deployment":
        owners = {item["metadata"].get("uid") for item in related.replica_sets if _owned(item, {uid}) and _revision(item) == _revision(obj)}
    else:
        owners = {uid}
    return [pod for pod in related.pods if _owned(pod, owners)]


def _owned(obj: Obj, owners: set[Any]) -> bool:
    return any(owner.get("uid") in owners for owner in obj["metadata"].get("ownerReferences") or [])


def _revision(obj: Obj) -> str | None:
    value = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
    return None if value is None else str(value)


def _group_kind(obj: Obj) -> str:
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    return f"{group}/{obj.get('kind')}" if group else str(obj.get("kind"))


def _generic(obj: Obj) -> Readiness | None:
    metadata, status = obj.get("metadata") or {}, status_of(obj)
    if metadata.get("deletionTimestamp"):
        return progress("it is being deleted")
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and observed != generation:
        return progress(f"generation {generation} is not observed yet (observed: {observed})")
    conditions = conditions_of(obj)
    if conditions.get("Reconciling", {}).get("status") == "True":
        return progress(str(conditions["Reconciling"].get("message") or "reconciling"))
    if conditions.get("Stalled", {}).get("status") == "True":
        return failed(str(conditions["Stalled"].get("message") or "stalled"))
    return None


def _pod(obj: Obj, related: Related) -> Readiness:
    phase = status_of(obj).get("phase")
    if phase == "Succeeded":
        return ready("it has completed")
    if phase == "Failed":
        return failed(f"it has failed: {status_of(obj).get('message') or status_of(obj).get('reason') or 'a container ended with an error'}")
    if phase == "Running" and conditions_of(obj).get("Ready", {}).get("status") == "True":
        return ready("it is ready")
    return pod_problem(obj, related.events, related.now, related.node_seconds) or progress(f"its phase is {phase or 'not known yet'}")


def _claim(obj: Obj, _related: Related) -> Readiness:
    phase = status_of(obj).get("phase")
    return ready("it is bound") if phase == "Bound" else progress(f"it is not bound (phase {phase or 'unknown'})")


def _service(obj: Obj, _related: Related) -> Readiness:
    spec = obj.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and not spec.get("clusterIP"):
        return progress("it has no cluster IP yet")
    return ready("it is ready")


def _namespace(obj: Obj, _related: Related) -> Readiness:
    phase = status_of(obj).get("phase")
    return ready("it is active") if phase == "Active" else progress(f"its phase is {phase or 'unknown'}")


def _quota(obj: Obj, _related: Related) -> Readiness:
    """A quota is in force when the controller has taken over its figures; before, it denies or forgets."""
    wanted, known = (obj.get("spec") or {}).get("hard") or {}, status_of(obj).get("hard") or {}
    late = sorted(key for key in wanted if wanted[key] != known.get(key))
    return progress(f"not in force yet for {', '.join(late)}") if late else ready("it is in force")


def _crd(obj: Obj, _related: Related) -> Readiness:
    conditions = conditions_of(obj)
    names, established = conditions.get("NamesAccepted", {}), conditions.get("Established", {})
    if names.get("status") == "False":
        return failed(str(names.get("message") or names.get("reason")))
    if established.get("status") == "False" and established.get("reason") != "Installing":
        return failed(str(established.get("message") or established.get("reason")))
    return ready("it is established") if established.get("status") == "True" else progress("it is being installed")


def _always(_obj: Obj, _related: Related) -> Readiness:
    return ready("it is always ready")


def _conditions(obj: Obj, _related: Related) -> Readiness:
    """Any other kind, custom resources among them: Ready, or Available, has to be true where it is said at all."""
    conditions = conditions_of(obj)
    for name in ("Ready", "Available", "Programmed", "Accepted"):
        condition = conditions.get(name)
        if condition is not None and condition.get("status") != "True":
            return progress(f"{name} is {condition.get('status')}: {condition.get('message') or condition.get('reason')}")
    return ready("nothing says that it is not")


def _route(obj: Obj, related: Related) -> Readiness:
    """A route is ready when each gateway it names has accepted this very generation and found its backends."""
    generation, own = obj["metadata"].get("generation"), obj["metadata"].get("namespace")

    def place(ref: Obj) -> tuple[Any, ...]:
        return (ref.get("namespace") or own, ref.get("name"), ref.get("sectionName"), ref.get("port"))

    answers = {place(parent.get("parentRef") or {}): parent for parent in status_of(obj).get("parents") or []}
    for ref in (obj.get("spec") or {}).get("parentRefs") or []:
        gateway = "/".join(str(part) for part in place(ref)[:3] if part)
        conditions = {str(item.get("type")): item for item in (answers.get(place(ref)) or {}).get("conditions") or []}
        for name in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(name)
            if condition is None or condition.get("observedGeneration", generation) != generation:
                return progress(f"gateway {gateway} has not answered yet")
            if condition.get("status") != "True":
                final = seconds_since(condition.get("lastTransitionTime"), related.now) >= ROUTE_SECONDS
                text = f"gateway {gateway} says {name} is {condition.get('status')}: {condition.get('message') or condition.get('reason')}"
                return Readiness(FAILED if final else PROGRESS, text)
    return ready("accepted by its gateways")


def _refused_creation(obj: Obj, related: Related, pods: Sequence[Obj]) -> Readiness | None:
    """Pods that the API server does not let the controller create: quota, Pod Security, admission. ``pods`` are those that it let it create."""
    failure = conditions_of(obj).get("ReplicaFailure", {})
    messages = [str(failure.get("message"))] if failure.get("status") == "True" else []
    uid = obj["metadata"].get("uid")
    if obj.get("kind") != "Deployment":
        # A pod that was created since says that what was refused then is not any more.
        newest = max((str(pod["metadata"].get("creationTimestamp") or "") for pod in pods), default="")
        messages += [
            str(event.get("message"))
            for event in related.events
            if event.get("reason") == "FailedCreate" and (event.get("involvedObject") or {}).get("uid") == uid
            if not newest or last_seen(event) > newest
        ]
    space = obj["metadata"].get("namespace")
    ending = sum(1 for pod in related.pods if pod["metadata"].get("deletionTimestamp") and pod["metadata"].get("namespace") == space)
    return next((found for message in messages if (found := _refusal(message, ending)) is not None), None)


def _refusal(message: str, ending: int) -> Readiness | None:
    """Return what is to be thought of a controller's word on a pod that it could not create, in a namespace of which so many pods are ending."""
    # A quota of a moment ago; an API server that has just started and has not read the roles of its own controllers yet. Both try again.
    if "status unknown for quota" in message or "system:serviceaccount:kube-system:" in message:
        return progress(message)
    if "exceeded quota" in message:
        text = f"its pods are refused by the quota of the namespace: exceeded quota{message.split('exceeded quota', 1)[1]}"
        return progress(f"{text}; pods of it that are ending: {ending}") if ending else failed(text)
    if "forbidden" in message or "denied the request" in message:
        return failed(f"its pods are refused: {message}")
    return None


_WITH_PODS = frozenset({"apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "batch/Job"})
_RULES: dict[str, Callable[[Obj, Related], Readiness]] = {
    "Service": _service,
    "Pod": _pod,
    "Secret": _always,
    "ConfigMap": _always,
    "Namespace": _namespace,
    "ResourceQuota": _quota,
    "PersistentVolumeClaim": _claim,
    "apps/StatefulSet": _workloads.statefulset,
    "apps/DaemonSet": _workloads.daemonset,
    "apps/Deployment": _workloads.deployment,
    "apps/ReplicaSet": _workloads.replicaset,
    "policy/PodDisruptionBudget": _always,
    "batch/CronJob": _always,
    "batch/Job": _workloads.job,
    "apiextensions.k8s.io/CustomResourceDefinition": _crd,
    "gateway.networking.k8s.io/HTTPRoute": _route,
}
