"""Waiting: what a failure or a time-out brings back. The server is a fake, so that pods can crash at will."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref
from ansible_collections.barberpro.platform.plugins.module_utils._wait import NotReady, has_to_become_ready, spoken, tail, wait_ready

from tests.support.fake_api import Answer, FakeApi, kubeconfig

BOOKING = Ref("apps/v1", "Deployment", "t", "booking-r1")
MIGRATE = Ref("batch/v1", "Job", "t", "migrate-r1")


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "t", "uid": name, "resourceVersion": "1", **more}


def owned(name: str, owner: str, **more: Any) -> dict[str, Any]:
    return meta(name, ownerReferences=[{"uid": owner}], **more)


def event(name: str, reason: str, message: str) -> dict[str, Any]:
    return {"metadata": meta(name), "reason": reason, "message": message, "involvedObject": {"name": "booking-r1-a-1"}, "lastTimestamp": "2999-01-01T00:00:00Z"}


class Cluster:
    """Answers by the path's last segment."""

    def __init__(self, pod: dict[str, Any] | None = None, job: dict[str, Any] | None = None, log: Answer | None = None) -> None:
        revision = {"annotations": {"deployment.kubernetes.io/revision": "1"}}
        self.log = log or (200, {}, b"line one\nTraceback\n\nlast line\n")
        self.kinds: dict[str, list[dict[str, Any]]] = {
            "deployments": [{"metadata": meta("booking-r1", generation=1, **revision), "spec": {}, "status": {"observedGeneration": 1}}],
            "replicasets": [{"metadata": owned("rs", "booking-r1", **revision)}],
            "jobs": [{"metadata": meta("migrate-r1"), "status": job or {}}],
            "pods": [{"metadata": owned("booking-r1-a-1", "rs"), "spec": {"containers": [{"name": "main", "image": "i:1"}]}, "status": pod or {}}],
            "events": [event(f"e{number}", "BackOff", f"try {number}") for number in range(9)],
        }

    def __call__(self, path: str) -> Answer:
        if "/log?" in path:
            return self.log
        if "watch=true" in path:
            return (200, {}, b"")
        plural = path.partition("?")[0].rsplit("/", 1)[-1]
        return (200, {}, {"items": self.kinds[plural], "metadata": {"resourceVersion": "1"}})


def failure(folder: Path, cluster: Cluster, *refs: Ref, timeout: float = 5) -> NotReady:
    with FakeApi([cluster]) as api:
        client = Client.from_options({"kubeconfig": kubeconfig(folder, api.url), "request_timeout": 2})
        with pytest.raises(NotReady) as caught:
            wait_ready(client, refs, timeout)
    return caught.value


def said(error: NotReady) -> str:
    """Return the message, without how long a busy machine really waited."""
    return re.sub(r" after \d s", " after N s", error.message)


def crashing(restarts: int) -> dict[str, Any]:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 1}}
    return {"phase": "Running", "containerStatuses": [{"name": "main", "state": state, "lastState": last, "restartCount": restarts}]}


def test_a_crash_brings_the_last_words_of_the_container(tmp_path: Path) -> None:
    error = failure(tmp_path, Cluster(pod=crashing(2)), BOOKING)
    assert error.message == (
        "Deployment t/booking-r1 is not ready: pod booking-r1-a-1 container main crashes: exit code 1, restarted 2 times; last log line: last line"
    )
    shown = error.details["failures"][0]
    assert (shown["final"], shown["log"]) == (True, ["line one", "Traceback", "last line"])
    assert shown["events"] == [f"BackOff: try {number}" for number in range(4, 9)]


def test_a_time_out_brings_the_last_state(tmp_path: Path) -> None:
    error = failure(tmp_path, Cluster(), BOOKING, timeout=0.3)
    assert said(error) == "Deployment t/booking-r1 is not ready after N s: 0 of 1 replicas created; last warning: BackOff: try 8"
    assert error.failures[0].final is False


def test_a_time_out_tells_why_and_not_that_kubelet_goes_on_trying(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.kinds["events"] = [
        event("e1", "Failed", "Failed to pull image \"shop/booking:1\": failed to read expected number of bytes: unexpected EOF"),
        event("e2", "Failed", "Error: ErrImagePull"), event("e3", "Failed", "Error: ImagePullBackOff"),
    ]
    error = failure(tmp_path, cluster, BOOKING, timeout=0.3)
    assert said(error) == (
        "Deployment t/booking-r1 is not ready after N s: 0 of 1 replicas created; last warning: "
        "Failed: Failed to pull image \"shop/booking:1\": failed to read expected number of bytes: unexpected EOF"
    )
    cluster.kinds["events"] = [event("e3", "Failed", "Error: ImagePullBackOff")]
    assert said(failure(tmp_path, cluster, BOOKING, timeout=0.3)).endswith("; last warning: Failed: Error: ImagePullBackOff")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("KeyError: 'PORT'", "KeyError: 'PORT'"),
        ('{"event": "readiness check failed", "frames": ["a:1"], "error": "DatabaseUnavailable", "reason": "no login"}', "readiness check failed: no login"),
        ('{"level": "fatal", "msg": "stopped", "err": "no disk"}', "stopped: no disk"),
        ('{"level": "fatal"}', '{"level": "fatal"}'),
        ('"a text"', '"a text"'),
        ("long " * 100, f"{('long ' * 100)[:399]}…"),
    ],
)
def test_the_last_line_of_a_log_is_told_without_what_only_machines_read(line: str, said: str) -> None:
    assert spoken(line) == said


def test_a_time_out_of_a_pod_whose_probe_fails_brings_the_probe_and_what_the_container_says(tmp_path: Path) -> None:
    pod = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}], "conditions": [{"type": "Ready", "status": "False"}]}
    cluster = Cluster(pod=pod)
    cluster.kinds["events"] = [event("e1", "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503")]
    error = failure(tmp_path, cluster, BOOKING, timeout=0.3)
    assert said(error) == (
        "Deployment t/booking-r1 is not ready after N s: 0 of 1 replicas created; "
        "last warning: Unhealthy: Startup probe failed: HTTP probe failed with statuscode: 503; last log line: last line"
    )


def test_a_time_out_of_a_pod_that_is_fine_brings_no_log(tmp_path: Path) -> None:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert failure(tmp_path, Cluster(pod=ready), BOOKING, timeout=0.3).failures[0].log == ()


def test_final_failures_are_told_first(tmp_path: Path) -> None:
    job = {"conditions": [{"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}]}
    cluster = Cluster(job=job)
    cluster.kinds["pods"] = [{"metadata": owned("migrate-r1-x", "migrate-r1"), "status": {"phase": "Failed"}}]
    error = failure(tmp_path, cluster, BOOKING, MIGRATE)
    assert error.message == (
        "Job t/migrate-r1 is not ready: the job failed: Job has reached the specified backoff limit; last log line: last line (and 1 more objects)"
    )


def test_what_does_not_exist_is_waited_for(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.kinds["jobs"] = []
    assert "Job t/migrate-r1 is not ready after N s: it does not exist (yet)" in said(failure(tmp_path, cluster, MIGRATE, timeout=0.2))


@pytest.mark.parametrize("log", [(400, {}, {"message": "no"}), (403, {}, {"message": "no"}), (200, {}, b"\n")])
def test_a_failure_without_a_log_is_still_told(tmp_path: Path, log: Answer) -> None:
    error = failure(tmp_path, Cluster(pod=crashing(2), log=log), BOOKING)
    assert error.message.endswith("restarted 2 times")
    assert error.failures[0].log == ()


def test_a_log_that_cannot_be_reached_is_none(tmp_path: Path) -> None:
    client = Client.from_options({"kubeconfig": kubeconfig(tmp_path, "http://127.0.0.1:9")})
    assert tail(client, "t", "p") == ()


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [("v1", "PersistentVolumeClaim", True), ("cert-manager.io/v1", "Certificate", True), ("v1", "ConfigMap", False),
     ("policy/v1", "PodDisruptionBudget", False), ("networking.k8s.io/v1", "NetworkPolicy", False), ("gateway.networking.k8s.io/v1", "HTTPRoute", True)],
)  # fmt: skip
def test_what_has_to_become_ready(api_version: str, kind: str, expected: bool) -> None:
    assert has_to_become_ready(Ref(api_version, kind, "t", "x")) is expected


def test_nothing_to_wait_for() -> None:
    assert wait_ready(None, [Ref("v1", "ConfigMap", "t", "c")], 1) == 0.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cannot connect to postgresql://app:s3cr:et@db:5432/x", "cannot connect to postgresql://app:(redacted)@db:5432/x"),
        ("GET /hook?access_token=abc123&x=1", "GET /hook?access_token=(redacted)&x=1"),
        ('{"event": "login", "password": "a, b", "user": "x"}', '{"event": "login", "password": "(redacted)", "user": "x"}'),
        ("API_KEY: abc", "API_KEY: (redacted)"),
        ("see http://localhost:9090/metrics by x@example.org", "see http://localhost:9090/metrics by x@example.org"),
        ("ValueError: invalid token in line 3", "ValueError: invalid token in line 3"),
    ],
)
def test_what_a_log_tells_of_secrets_is_not_told_on(tmp_path: Path, line: str, said: str) -> None:
    with FakeApi([(200, {}, f"{line}\n".encode())]) as api:
        assert tail(Client.from_options({"kubeconfig": kubeconfig(tmp_path, api.url)}), "t", "booking-r1-a-1") == (said,)
