"""Readiness as a table: an object as the API server shows it, and what we say of it. The first part are kstatus' own cases."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
OLD, JUST = "2027-01-15T07:59:00Z", "2027-01-15T07:59:58Z"  # 60 s and 2 s before NOW


def deployment(*, spec: dict[str, Any] | None = None, generation: int = 1, **status: Any) -> dict[str, Any]:
    metadata = {"name": "booking-r1", "namespace": "t", "uid": "d", "generation": generation}
    metadata["annotations"] = {"deployment.kubernetes.io/revision": "1"}  # type: ignore[assignment]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec or {}, "status": status}


def conditions(**kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": value.split(":")[0], "reason": value.partition(":")[2]} for kind, value in kinds.items()]


def counted(api: str, kind: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "t", "generation": 1, "uid": "x"}, "spec": spec, "status": status}


UP = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1}
GOOD = conditions(Progressing="True:NewReplicaSetAvailable", Available="True")

KSTATUS = [
    ("deployment without status", deployment(), "progress", "0 of 1 replicas created"),
    ("deployment with all", deployment(spec={"progressDeadlineSeconds": 45}, **UP, conditions=GOOD), "ready", "1 of 1 replicas ready"),
    ("deployment without deadline", deployment(**UP, conditions=conditions(Available="True")), "ready", "1 of 1"),
    (
        "deployment before its ReplicaSet is available",
        deployment(spec={"progressDeadlineSeconds": 45}, **UP, conditions=conditions(Available="True")),
        "progress",
        "newest ReplicaSet",
    ),
    ("deployment not available", deployment(**UP, conditions=conditions(Available="False")), "progress", "not available"),
    (
        "deployment past its deadline",
        deployment(spec={"replicas": 2}, observedGeneration=1, conditions=conditions(Progressing="False:ProgressDeadlineExceeded")),
        "failed",
        "no progress for 600 s",
    ),
    ("deployment generation", deployment(generation=2, **UP, conditions=GOOD), "progress", "generation 2 is not observed yet (observed: 1)"),
    ("deployment not updated", deployment(spec={"replicas": 2}, **{**UP, "replicas": 2}), "progress", "1 of 2 replicas updated"),
    ("deployment not ready", deployment(**{**UP, "readyReplicas": 0}), "progress", "0 of 1 replicas ready"),
    ("deployment not all available", deployment(**{**UP, "availableReplicas": 0}), "progress", "0 of 1 replicas available"),
    ("deployment extra", deployment(**{**UP, "replicas": 3}), "progress", "2 old replicas still to end"),
    ("statefulset without status", counted("apps/v1", "StatefulSet", {}, {}), "progress", "0 of 1 replicas created"),
    ("statefulset on delete", counted("apps/v1", "StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, {}), "ready", "deleted"),
    (
        "statefulset other revision",
        counted("apps/v1", "StatefulSet", {"replicas": 1}, {**UP, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "b"}),
        "progress",
        "newest revision",
    ),
    (
        "statefulset done",
        counted("apps/v1", "StatefulSet", {"replicas": 1}, {**UP, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a"}),
        "ready",
        "1 of 1",
    ),
    ("statefulset current", counted("apps/v1", "StatefulSet", {"replicas": 1}, UP), "progress", "0 of 1 replicas current"),
    ("statefulset extra", counted("apps/v1", "StatefulSet", {"replicas": 0}, UP), "progress", "1 replicas still to end"),
    (
        "statefulset partition",
        counted("apps/v1", "StatefulSet", {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}, {**UP, "replicas": 2, "readyReplicas": 2}),
        "ready",
        "partition",
    ),
    ("daemonset not observed", counted("apps/v1", "DaemonSet", {}, {}), "progress", "not been looked at"),
    ("daemonset without number", counted("apps/v1", "DaemonSet", {}, {"observedGeneration": 1}), "progress", "not known yet"),
    (
        "daemonset done",
        counted(
            "apps/v1",
            "DaemonSet",
            {},
            {
                "observedGeneration": 1,
                "desiredNumberScheduled": 2,
                "currentNumberScheduled": 2,
                "updatedNumberScheduled": 2,
                "numberAvailable": 2,
                "numberReady": 2,
            },
        ),
        "ready",
        "2 of 2 pods ready",
    ),
    (
        "daemonset not ready",
        counted("apps/v1", "DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "updatedNumberScheduled": 1}),
        "progress",
        "0 of 1 replicas available",
    ),
    ("replicaset failure", counted("apps/v1", "ReplicaSet", {}, {"conditions": conditions(ReplicaFailure="True")}), "progress", "cannot be created"),
    ("replicaset done", counted("apps/v1", "ReplicaSet", {}, {**UP, "fullyLabeledReplicas": 1}), "ready", "1 of 1"),
    ("replicaset extra", counted("apps/v1", "ReplicaSet", {"replicas": 0}, {**UP, "fullyLabeledReplicas": 1}), "progress", "1 replicas still to end"),
    ("replicaset short", counted("apps/v1", "ReplicaSet", {"replicas": 2}, UP), "progress", "0 of 2 replicas labelled"),
    ("claim bound", counted("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}), "ready", "bound"),
    ("claim pending", counted("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}), "progress", "phase Pending"),
    ("service", counted("v1", "Service", {"type": "ClusterIP"}, {}), "ready", "ready"),
    ("load balancer without address", counted("v1", "Service", {"type": "LoadBalancer"}, {}), "progress", "no cluster IP"),
    ("secret", counted("v1", "Secret", {}, {}), "ready", "always"),
    ("cron job", counted("batch/v1", "CronJob", {}, {}), "ready", "always"),
    ("job complete", counted("batch/v1", "Job", {}, {"conditions": conditions(Complete="True")}), "ready", "complete"),
    ("job failed", counted("batch/v1", "Job", {}, {"conditions": conditions(Failed="True:BackoffLimitExceeded")}), "failed", "BackoffLimitExceeded"),
    ("job suspended", counted("batch/v1", "Job", {}, {"conditions": conditions(Suspended="True")}), "ready", "suspended"),
    ("job not started", counted("batch/v1", "Job", {}, {}), "progress", "not started"),
    ("crd installing", counted("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {}), "progress", "installed"),
    (
        "crd installing by condition",
        counted("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(Established="False:Installing")}),
        "progress",
        "installed",
    ),
    (
        "crd failed",
        counted("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(Established="False:SomeReason")}),
        "failed",
        "SomeReason",
    ),
    (
        "crd conflict",
        counted("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(NamesAccepted="False:NamesConflict")}),
        "failed",
        "NamesConflict",
    ),
    (
        "crd established",
        counted("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(NamesAccepted="True", Established="True")}),
        "ready",
        "established",
    ),
    ("pod pending", counted("v1", "Pod", {}, {"phase": "Pending"}), "progress", "phase is Pending"),
    ("pod running", counted("v1", "Pod", {}, {"phase": "Running"}), "progress", "phase is Running"),
    ("pod ready", counted("v1", "Pod", {}, {"phase": "Running", "conditions": conditions(Ready="True")}), "ready", "ready"),
    ("pod done", counted("v1", "Pod", {}, {"phase": "Succeeded"}), "ready", "completed"),
    ("custom reconciling", counted("x.io/v1", "Thing", {}, {"conditions": conditions(Reconciling="True")}), "progress", "reconciling"),
    ("custom stalled", counted("x.io/v1", "Thing", {}, {"conditions": conditions(Stalled="True")}), "failed", "stalled"),
    ("custom without conditions", counted("x.io/v1", "Thing", {}, {}), "ready", "nothing says"),
]

BEYOND = [
    ("job that runs", counted("batch/v1", "Job", {}, {"startTime": OLD, "active": 1}), "progress", "1 active"),
    ("pod that failed", counted("v1", "Pod", {}, {"phase": "Failed", "message": "Evicted"}), "failed", "it has failed: Evicted"),
    ("custom not ready", counted("x.io/v1", "Thing", {}, {"conditions": conditions(Ready="False:Because")}), "progress", "Ready is False: Because"),
    (
        "gateway not programmed",
        counted("x.io/v1", "Gateway", {}, {"conditions": conditions(Programmed="Unknown:Pending")}),
        "progress",
        "Programmed is Unknown",
    ),
    ("namespace", counted("v1", "Namespace", {}, {"phase": "Active"}), "ready", "active"),
    ("quota unknown", counted("v1", "ResourceQuota", {"hard": {"pods": "1"}}, {}), "progress", "not in force yet for pods"),
    ("quota other", counted("v1", "ResourceQuota", {"hard": {"pods": "2"}}, {"hard": {"pods": "1"}}), "progress", "pods"),
    ("quota in force", counted("v1", "ResourceQuota", {"hard": {"pods": "1"}}, {"hard": {"pods": "1"}}), "ready", "in force"),
    (
        "deployment over quota",
        deployment(
            conditions=[
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreate",
                    "message": 'pods "b-1" is forbidden: exceeded quota: tier, requested: pods=1, used: pods=10, limited: pods=10',
                }
            ]
        ),
        "failed",
        "refused by the quota of the namespace: exceeded quota: tier, requested: pods=1, used: pods=10, limited: pods=10",
    ),
    (
        "deployment under a quota of a moment ago",
        deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "forbidden: status unknown for quota: tier"}]),
        "progress",
        "status unknown",
    ),
    (
        "a controller that the API server does not know yet",
        deployment(
            conditions=[
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "message": 'pods is forbidden: User "system:serviceaccount:kube-system:replicaset-controller" cannot create resource "pods"',
                }
            ]
        ),
        "progress",
        "replicaset-controller",
    ),
    (
        "deployment refused by pod security",
        deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "forbidden: violates PodSecurity"}]),
        "failed",
        "violates PodSecurity",
    ),
]


@pytest.mark.parametrize(("obj", "outcome", "words"), [row[1:] for row in KSTATUS + BEYOND], ids=[row[0] for row in KSTATUS + BEYOND])
def test_objects(obj: dict[str, Any], outcome: str, words: str) -> None:
    found = assess(obj, Related(now=NOW))
    assert found.outcome == outcome
    assert words in found.reason


def test_what_is_being_deleted_is_not_ready() -> None:
    obj = deployment(**UP, conditions=GOOD)
    obj["metadata"]["deletionTimestamp"] = OLD
    assert assess(obj).outcome == "progress"


def pod(name: str = "booking-r1-aa-1", **status: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "registry/booking:9", "resources": {"limits": {"memory": "64Mi"}}}]}
    return {"metadata": {"name": name, "uid": name, "ownerReferences": [{"uid": "rs1"}]}, "spec": spec, "status": {"phase": "Pending", **status}}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": reason, "message": message}}, **more}]}


PULL = 'Back-off pulling image "registry/booking:9": ErrImagePull: rpc error: code = '
PODS = [
    (
        "manifest unknown",
        waiting("ErrImagePull", "manifest unknown: manifest unknown"),
        "failed",
        "image registry/booking:9 cannot be pulled: manifest unknown",
    ),
    (
        "not found while backing off",
        waiting("ImagePullBackOff", PULL + "NotFound desc = failed to resolve: r: not found"),
        "failed",
        "manifest unknown",
    ),
    ("invalid name", waiting("InvalidImageName", "couldn't parse image reference"), "failed", "the name is not valid"),
    ("no rights", waiting("ErrImagePull", "pull access denied"), "failed", "pull access denied"),
    ("broken", waiting("ErrImagePull", "number of layers and diffIDs don't match: 4 != 3"), "failed", "layers and diffIDs don't match"),
    ("time-out", waiting("ErrImagePull", PULL + "Unknown desc = dial tcp 10.0.0.1:443: i/o timeout"), "progress", "i/o timeout"),
    ("refused", waiting("ImagePullBackOff", PULL + "Unknown desc = dial tcp: connect: connection refused"), "progress", "refused"),
    ("server error", waiting("ErrImagePull", "unexpected status code: 503 Service Unavailable"), "progress", "503"),
    ("just backing off", waiting("ImagePullBackOff", 'Back-off pulling image "registry/booking:9"'), "progress", "Back-off"),
    (
        "crash loop",
        waiting("CrashLoopBackOff", restartCount=2, lastState={"terminated": {"exitCode": 3}}),
        "failed",
        "pod booking-r1-aa-1 container main crashes: exit code 3, restarted 2 times",
    ),
    ("first crash", waiting("CrashLoopBackOff", restartCount=1, lastState={"terminated": {"exitCode": 3}}), "progress", "restarted 1 time"),
    (
        "out of memory",
        waiting("CrashLoopBackOff", restartCount=5, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        "failed",
        "killed for using more memory than its limit (64Mi)",
    ),
    (
        "missing secret",
        {"startTime": OLD, **waiting("CreateContainerConfigError", 'secret "x" not found')},
        "failed",
        'cannot be started: secret "x" not found',
    ),
    ("secret on its way", {"startTime": JUST, **waiting("CreateContainerConfigError", 'secret "x" not found')}, "progress", "not found"),
    (
        "unschedulable",
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "lastTransitionTime": OLD,
                    "message": "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims",
                }
            ]
        },
        "failed",
        "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu",
    ),
    (
        "not scheduled yet",
        {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": JUST, "message": "no"}]},
        "progress",
        "cannot be scheduled",
    ),
    (
        "init container",
        {"initContainerStatuses": [{"name": "i", "image": "i:1", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}]},
        "failed",
        "image i:1",
    ),
]
SETS = [{"metadata": {"uid": "rs1", "ownerReferences": [{"uid": "d"}], "annotations": {"deployment.kubernetes.io/revision": "1"}}}]


@pytest.mark.parametrize(("status", "outcome", "words"), [row[1:] for row in PODS], ids=[row[0] for row in PODS])
def test_pods_of_a_deployment(status: dict[str, Any], outcome: str, words: str) -> None:
    found = assess(deployment(), Related([pod(**status)], SETS, (), NOW))
    assert found.outcome == outcome
    assert words in found.reason


def test_a_pod_waits_for_a_node_as_long_as_one_takes_to_come() -> None:
    waits = pod(**next(row[1] for row in PODS if row[0] == "unschedulable"))
    for seconds, outcome in ((15, "failed"), (1e9, "progress")):
        assert assess(deployment(), Related([waits], SETS, (), NOW, node_seconds=seconds)).outcome == outcome


def test_only_pods_of_the_newest_replica_set_count() -> None:
    old = [{"metadata": {"uid": "rs1", "ownerReferences": [{"uid": "d"}], "annotations": {"deployment.kubernetes.io/revision": "0"}}}]
    broken = pod(**waiting("InvalidImageName"))
    assert assess(deployment(), Related([broken], old, (), NOW)).outcome == "progress"
    assert assess(deployment(), Related([broken], SETS, (), NOW)).outcome == "failed"


def test_a_ready_workload_is_ready_whatever_one_pod_says() -> None:
    ready = deployment(**UP, conditions=GOOD)
    assert assess(ready, Related([pod(**waiting("InvalidImageName"))], SETS, (), NOW)).outcome == "ready"


def test_crash_names_where_the_log_is() -> None:
    status = waiting("CrashLoopBackOff", restartCount=2)
    found = assess(deployment(), Related([pod(**status)], SETS, (), NOW))
    assert (found.pod, found.container) == ("booking-r1-aa-1", "main")


def test_a_job_over_quota_is_told_by_an_event() -> None:
    job = counted("batch/v1", "Job", {}, {"startTime": OLD})
    event = {"reason": "FailedCreate", "involvedObject": {"uid": "x"}, "message": "pods is forbidden: exceeded quota: tier, requested: pods=1"}
    assert assess(job, Related((), (), [event], NOW)).outcome == "failed"
    assert assess(job, Related((), (), [{**event, "involvedObject": {"uid": "y"}}], NOW)).outcome == "progress"


def test_a_volume_that_cannot_be_mounted() -> None:
    event = {"reason": "FailedMount", "involvedObject": {"uid": "booking-r1-aa-1"}, "message": 'secret "booking-admin" not found'}
    late = assess(deployment(), Related([pod(startTime=OLD)], SETS, [event], NOW))
    early = assess(deployment(), Related([pod(startTime=JUST)], SETS, [event], NOW))
    assert (late.outcome, early.outcome) == ("failed", "progress")
    assert late.reason == 'pod booking-r1-aa-1 cannot mount a volume: secret "booking-admin" not found'


def route(**status: Any) -> dict[str, Any]:
    spec = {"parentRefs": [{"name": "barberpro", "namespace": "gw", "sectionName": "https"}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "main", "namespace": "t", "generation": 2},
        "spec": spec,
        "status": status,
    }


def answer(accepted: str = "True", resolved: str = "True", generation: int = 2, since: str = OLD) -> dict[str, Any]:
    said = [
        {"type": kind, "status": value, "message": "why", "observedGeneration": generation, "lastTransitionTime": since}
        for kind, value in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    return {"parents": [{"parentRef": {"name": "barberpro", "namespace": "gw", "sectionName": "https"}, "conditions": said}]}


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        ({}, "progress", "gateway gw/barberpro/https has not answered yet"),
        (answer(generation=1), "progress", "has not answered yet"),
        (answer(), "ready", "accepted"),
        (answer(accepted="False"), "failed", "gateway gw/barberpro/https says Accepted is False: why"),
        (answer(resolved="False"), "failed", "ResolvedRefs is False"),
        (answer(accepted="False", since=JUST), "progress", "Accepted is False"),
    ],
)
def test_routes(status: dict[str, Any], outcome: str, words: str) -> None:
    found = assess(route(**status), Related(now=NOW))
    assert found.outcome == outcome
    assert words in found.reason


JSON = st.recursive(st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3))


@given(
    kind=st.sampled_from(["apps/v1 Deployment", "apps/v1 StatefulSet", "batch/v1 Job", "v1 Pod", "v1 ResourceQuota", "x.io/v1 Thing"]),
    spec=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    phase=st.sampled_from(["", "Pending", "Running", "Failed"]),
    replicas=st.integers(0, 5),
)
def test_any_object_has_one_of_three_outcomes(kind: str, spec: dict[str, Any], phase: str, replicas: int) -> None:
    api, name = kind.split()
    found = assess(counted(api, name, {**spec, "replicas": replicas}, {"phase": phase, "replicas": replicas}), Related(now=NOW))
    assert found.outcome in ("ready", "progress", "failed")
    assert found.reason
