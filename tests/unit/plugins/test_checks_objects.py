"""Checks of objects, endpoints, restarts and rollouts, with a kubectl that answers what a test wants."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_stand_in import StandIn, ready_pod

Check = Callable[..., str]
NAMESPACE = "/api/v1/namespaces/ns"
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c-@revision@", "namespace": "ns", "annotations": {"barberpro.platform/phase": "workloads"}},
    "data": {"a": "1"},
}


@pytest.fixture
def kubectl(tmp_path: Path) -> Callable[..., str]:
    """A program that prints an answer as kubectl does."""

    def make(*items: dict[str, Any], code: int = 0, error: str = "") -> str:
        (tmp_path / "answer").write_text(json.dumps({"kind": "List", "items": list(items)}) if not code else "")
        program = tmp_path / "kubectl"
        program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/arguments; cat > {tmp_path}/input; cat {tmp_path}/answer; echo '{error}' >&2; exit {code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


def live(**changes: Any) -> dict[str, Any]:
    found = json.loads(json.dumps(CONFIG).replace("@revision@", "r3"))
    return {**found, **changes}


def test_objects_are_read_back_by_kubectl(check: Check, kubectl: Callable[..., str], tmp_path: Path) -> None:
    asked = {"objects": [CONFIG], "revision": "r3", "phases": ["workloads"]}
    found = check("objects", **asked, kubectl=kubectl(live()))
    assert found == "passed: 1 object as declared, read back by kubectl (1 ConfigMap)"
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith("--kubeconfig ")
    assert arguments.endswith("get -f - -o json --ignore-not-found\n")
    names = json.loads((tmp_path / "input").read_text())["items"]
    assert names == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c-r3", "namespace": "ns"}}]


def test_objects_that_are_not_as_declared(check: Check, kubectl: Callable[..., str]) -> None:
    asked = {"objects": [CONFIG], "revision": "r3"}
    found = check("objects", **asked, kubectl=kubectl(live(data={"a": "2"})))
    assert found.startswith("failed: 1 of 1 object not as declared: ConfigMap ns/c-r3 data.a: '2' instead of '1'; see who changed it")
    assert "ConfigMap ns/c-r3 does not exist" in check("objects", **asked, kubectl=kubectl())
    going = live()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert "ConfigMap ns/c-r3 is being deleted" in check("objects", **asked, kubectl=kubectl(going))
    assert check("objects", objects=[CONFIG], phases=["monitoring"]) == "passed: no objects are declared"


def test_kubectl_that_does_not_work(check: Check, kubectl: Callable[..., str]) -> None:
    found = check("objects", objects=[CONFIG], kubectl="/none/kubectl")
    assert found == "failed: /none/kubectl is not on this runner; install kubectl, or name it by the parameter kubectl"
    program = kubectl(code=1, error="Forbidden: you")
    assert check("objects", objects=[CONFIG], kubectl=program) == f"failed: {program} get failed: Forbidden: you; run it by hand to see why"
    Path(program).write_text("no program")
    assert f"{program} get failed: [Errno 8] Exec format error" in check("objects", objects=[CONFIG], kubectl=program)


def endpoint(name: str, ready: bool | None) -> dict[str, Any]:
    return {"targetRef": {"name": name}, "addresses": ["10.0.0.1"], "conditions": {} if ready is None else {"ready": ready}}


def test_endpoints(api: StandIn, check: Check) -> None:
    slices = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
    api.answers["GET /apis/discovery.k8s.io/v1"] = {"resources": [{"kind": "EndpointSlice", "name": "endpointslices", "namespaced": True}]}
    asked = {"namespace": "ns", "service": "booking-r3"}
    assert check("endpoints", **asked) == "failed: Service ns/booking-r3 does not exist; deploy again, and look at the release's objects"
    api.items(slices, {"metadata": {}, "endpoints": [endpoint("a", True), endpoint("b", None), endpoint("c", False)]}, {"metadata": {}})
    assert check("endpoints", **asked) == "passed: 2 ready endpoints of booking-r3"
    found = check("endpoints", **asked, minimum=3)
    assert found.startswith("failed: Service ns/booking-r3 has 2 ready endpoints, 3 needed, 1 not ready; compare its selector")


def test_restarts(api: StandIn, check: Check) -> None:
    asked = {"namespace": "ns", "selector": "app=x"}
    assert "no pod with app=x in namespace ns" in check("restarts", **asked)
    pod = ready_pod("a")
    pods = f"{NAMESPACE}/pods"
    api.items(pods, pod)
    assert check("restarts", **asked) == "passed: 0 restarts in 1 pod"
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    pod["status"]["containerStatuses"] = [{"name": "main", "restartCount": 2, "lastState": ended}, {"name": "side", "restartCount": 0}]
    api.items(pods, pod)
    assert check("restarts", **asked, maximum=2) == "passed: 2 restarts in 1 pod"
    found = check("restarts", **asked)
    assert found.startswith("failed: Pod ns/a was restarted 2 times: container main ended with OOMKilled (exit code 137); see kubectl -n ns logs a --previous")


def deployment(**status: int) -> dict[str, Any]:
    conditions = [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]
    annotations = {"deployment.kubernetes.io/revision": "1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "booking-r3", "namespace": "ns", "uid": "d", "generation": 1, "annotations": annotations},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 1, "conditions": conditions, **status},
    }


@pytest.fixture
def workload(api: StandIn) -> StandIn:
    """A Deployment with its ReplicaSet and one pod."""
    full = deployment(replicas=2, updatedReplicas=2, availableReplicas=2, readyReplicas=2)
    api.answers["GET /apis/apps/v1/namespaces/ns/deployments/booking-r3"] = full
    owner = {"ownerReferences": [{"uid": "d"}], "uid": "r", "name": "rs", "annotations": {"deployment.kubernetes.io/revision": "1"}}
    api.items("/apis/apps/v1/namespaces/ns/replicasets", {"metadata": owner})
    pod = ready_pod("booking-r3-x")
    pod["metadata"]["ownerReferences"] = [{"uid": "r"}]
    pod["status"]["containerStatuses"] = [{"name": "booking", "restartCount": 1}]
    api.items(f"{NAMESPACE}/pods", pod)
    api.items(f"{NAMESPACE}/events")
    return api


def test_rollout(workload: StandIn, check: Check) -> None:
    asked = {"namespace": "ns", "name": "booking-r3"}
    assert check("rollout", **asked) == "passed: 2/2 replicas of booking-r3 available, 1 restart"
    assert "Deployment ns/none does not exist; deploy again" in check("rollout", namespace="ns", name="none")
    short = deployment(replicas=2, updatedReplicas=2, availableReplicas=1, readyReplicas=1)
    workload.answers["GET /apis/apps/v1/namespaces/ns/deployments/booking-r3"] = short
    found = check("rollout", **asked)
    assert found == "failed: Deployment ns/booking-r3: 1 of 2 replicas available; see kubectl -n ns describe deployment booking-r3"


@pytest.mark.parametrize(
    ("waiting", "words", "advice"),
    [
        (
            {"reason": "ErrImagePull", "message": "manifest unknown"},
            "image localhost/none:1 cannot be pulled: manifest unknown",
            "push the image or correct its reference, then deploy again",
        ),
        ({"reason": "CrashLoopBackOff"}, "crashes: exit code 3, restarted 3 times", "see kubectl -n ns logs booking-r3-x -c booking --previous"),
    ],
)
def test_what_cannot_heal_is_not_waited_for(workload: StandIn, check: Check, waiting: dict[str, str], words: str, advice: str) -> None:
    pod = workload.answers[f"GET {NAMESPACE}/pods"]["items"][0]
    pod["spec"]["containers"] = [{"name": "booking", "image": "localhost/none:1"}]
    state = {"name": "booking", "state": {"waiting": waiting}, "restartCount": 3, "lastState": {"terminated": {"exitCode": 3}}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [state]}
    short = deployment(replicas=2, updatedReplicas=2, availableReplicas=0, readyReplicas=0)
    workload.answers["GET /apis/apps/v1/namespaces/ns/deployments/booking-r3"] = short
    found = check("rollout", namespace="ns", name="booking-r3", wait=15)
    assert found.startswith("failed: Deployment ns/booking-r3: pod booking-r3-x container booking")
    assert words in found
    assert advice in found


def test_rollout_of_a_job_and_a_daemonset(workload: StandIn, check: Check) -> None:
    job = {"kind": "Job", "metadata": {"name": "j", "uid": "j"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    workload.answers["GET /apis/batch/v1/namespaces/ns/jobs/j"] = {"apiVersion": "batch/v1", **job}
    assert check("rollout", namespace="ns", name="j", kind="Job") == "passed: j is complete"
    names = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    status = {"observedGeneration": 1, **dict.fromkeys(names, 3)}
    daemon = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "uid": "x", "generation": 1}, "status": status}
    workload.answers["GET /apis/apps/v1/namespaces/ns/daemonsets/d"] = daemon
    assert check("rollout", namespace="ns", name="d", kind="DaemonSet") == "passed: 3/3 replicas of d available, 0 restarts"
