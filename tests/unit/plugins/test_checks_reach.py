"""The reach check: a probe pod that is always removed, and what is made of its log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
PODS = "/api/v1/namespaces/tenant-x/pods"
ASKED = {"namespace": "tenant-x", "image": "registry/booking:1", "labels": {"app": "booking"}, "open": ["db:5432"], "closed": ["other:8080", "9.9.9.9:53"]}


def line(target: str, expected: str, actual: str, reason: str = "why") -> str:
    return json.dumps({"target": target, "expected": expected, "actual": actual, "ok": expected == actual, "reason": reason})


GOOD = [line("db:5432", "open", "open"), line("other:8080", "closed", "closed"), line("9.9.9.9:53", "closed", "closed")]


class Probe:
    """A cluster in which a probe pod runs and says what a test wants."""

    def __init__(self, api: StandIn) -> None:
        self.pod: dict[str, Any] = {}
        self.lines, self.looks, self.deleted = list(GOOD), 0, 0
        self.status: dict[str, Any] = {"phase": "Succeeded", "containerStatuses": [{"name": "probe", "state": {"terminated": {"exitCode": 0}}}]}
        self.removal = Reply(200, {})
        api.answers[f"POST {PODS}"] = self.create
        self.api = api

    def create(self, request: Request) -> Reply:
        self.pod = request.body
        path = f"{PODS}/{self.pod['metadata']['name']}"
        self.api.answers[f"GET {path}"] = self.look
        self.api.answers[f"DELETE {path}"] = self.delete
        self.api.answers[f"GET {path}/log"] = lambda _request: Reply(200, "warming up\n" + "\n".join(self.lines))
        return Reply(201, self.pod)

    def look(self, _request: Request) -> Any:
        self.looks += 1
        status = {"phase": "Pending"} if self.looks == 1 else self.status
        return {**self.pod, "status": status} if status else None

    def delete(self, _request: Request) -> Reply:
        self.deleted += 1
        return self.removal


@pytest.fixture
def probe(api: StandIn) -> Probe:
    return Probe(api)


def test_as_declared(probe: Probe, check: Check) -> None:
    assert check("reach", **ASKED) == "passed: 1 target open and 2 targets closed as declared, tried from a pod"
    assert probe.deleted == 1
    spec, metadata = probe.pod["spec"], probe.pod["metadata"]
    container = spec["containers"][0]
    assert metadata["labels"]["app"] == "booking"
    assert container["command"][:5] == ["python", "-m", "barberpro_service.probe", "--timeout", "2"]
    assert container["command"][7:] == ["--open", "db:5432", "--closed", "other:8080", "--closed", "9.9.9.9:53"]
    # Never ready, restricted, without a token.
    assert container["readinessProbe"]["exec"]["command"][-1] == "raise SystemExit(1)"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (line("db:5432", "open", "closed", "no answer within 3 s"), "cannot reach db:5432 (no answer within 3 s), which is declared open"),
        (line("other:8080", "closed", "open"), "reaches other:8080, which must be closed"),
        (
            line("other:8080", "closed", "refused", "Connection refused"),
            "reaches other:8080 (which refused the connection itself: the network let it through), which must be closed",
        ),
        (line("other:8080", "closed", "unresolved", "no such name"), "could not try other:8080 (no such name)"),
        # An older image's probe does not say whose refusal it is.
        (line("other:8080", "closed", "closed", "Connection refused"), "could not try other:8080 (Connection refused)"),
    ],
)
def test_not_as_declared(probe: Probe, check: Check, changed: str, words: str) -> None:
    probe.lines.append(changed)
    found = check("reach", **ASKED)
    assert found == (
        f"failed: a pod of tenant-x {words}; compare the tenant's network policies with what is declared: kubectl -n tenant-x get networkpolicies"
    )
    assert probe.deleted == 1


def test_a_neighbour_that_changes_its_revision_meanwhile_is_no_failure(probe: Probe, check: Check, api: StandIn) -> None:
    service = "/api/v1/namespaces/tenant-y/services/booking-r3"
    there = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "booking-r3", "namespace": "tenant-y"}}
    target, own = "booking-r3.tenant-y.svc:8080", "booking-r3.tenant-x.svc:8080"
    probe.lines += [line(target, "closed", "unresolved", "no such name"), line(own, "closed", "unresolved", "no such name")]
    asked = {**ASKED, "closed": ["other:8080", target]}
    for space, ready in (("tenant-x", [True]), ("tenant-y", [True])):
        slices(api, space, ready)
    api.answers[f"GET {service}"] = lambda _request: None
    assert check("reach", **asked) == (
        f"passed: 1 target open and 1 target closed as declared, tried from a pod; {target} was removed meanwhile"
    )
    api.answers[f"GET {service}"] = lambda _request: there
    assert f"could not try {target} (no such name)" in check("reach", **asked)
    # What is the tenant's own must be there.
    assert f"could not try {own} (no such name)" in check("reach", **{**ASKED, "closed": [own]})


def slices(api: StandIn, namespace: str, *ready: list[bool | None]) -> None:
    """Have every Service of a namespace these EndpointSlices, each with pods that are ready, not ready, or of which nobody knows."""
    api.answers["GET /apis/discovery.k8s.io/v1"] = {"resources": [{"kind": "EndpointSlice", "name": "endpointslices", "namespaced": True}]}
    found = [{"endpoints": [{"conditions": {} if one is None else {"ready": one}} for one in part]} for part in ready]
    api.items(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", *found)


@pytest.mark.parametrize(
    ("ready", "kind", "tried"),
    [
        ([[False], [False, True]], "ClusterIP", True),
        ([[None]], "ClusterIP", True),
        ([[False]], "ClusterIP", False),
        ([[]], "ClusterIP", False),
        ([], "ClusterIP", False),
        ([], "ExternalName", True),  # another name: no Service of this cluster answers for it
        ([], None, True),  # not there: its name does not resolve
    ],
)
def test_a_service_without_a_ready_pod_proves_nothing(
    probe: Probe, check: Check, api: StandIn, ready: list[list[bool | None]], kind: str | None, tried: bool
) -> None:
    target = "booking-r3.tenant-y.svc.cluster.local:8080"
    slices(api, "tenant-y", *ready)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "booking-r3", "namespace": "tenant-y"}, "spec": {"type": kind}}
    api.answers["GET /api/v1/namespaces/tenant-y/services/booking-r3"] = lambda _request: service if kind else None
    probe.lines.append(line(target, "closed", "closed", "no answer within 2 s"))
    found = check("reach", **{**ASKED, "closed": ["other:8080", target]})
    number, left_out = (2, "") if tried else (1, f"; {target} had no ready pod, so that nobody could answer")
    assert found == f"passed: 1 target open and {number} target{'s' if tried else ''} closed as declared, tried from a pod{left_out}"
    assert (target in probe.pod["spec"]["containers"][0]["command"]) is tried


def test_nothing_is_left_to_try(check: Check, api: StandIn) -> None:
    """No pod is started for it."""
    target = "booking-r3.tenant-y.svc:8080"
    slices(api, "tenant-y", [False])
    api.answers["GET /api/v1/namespaces/tenant-y/services/booking-r3"] = {"metadata": {"name": "booking-r3", "namespace": "tenant-y"}}
    found = check("reach", **{**ASKED, "open": [], "closed": [target]})
    assert found == f"passed: nothing was left to try; {target} had no ready pod, so that nobody could answer"
    assert {request.method for request in api.log} == {"GET"}


def test_a_neighbour_that_loses_its_last_pod_meanwhile_is_not_counted_as_closed(probe: Probe, check: Check, api: StandIn) -> None:
    target = "booking-r3.tenant-y.svc:8080"
    path = "/apis/discovery.k8s.io/v1/namespaces/tenant-y/endpointslices"
    api.answers["GET /api/v1/namespaces/tenant-y/services/booking-r3"] = {"metadata": {"name": "booking-r3", "namespace": "tenant-y"}}
    probe.lines.append(line(target, "closed", "closed", "rejected on the way"))
    asked = {**ASKED, "closed": ["other:8080", target]}
    slices(api, "tenant-y", [True])
    assert check("reach", **asked) == "passed: 1 target open and 2 targets closed as declared, tried from a pod"
    there, looks = api.answers[f"GET {path}"], []

    def going(request: Request) -> Any:
        looks.append(request)
        return there if len(looks) == 1 else {"items": [], "metadata": {}}

    api.answers[f"GET {path}"] = going
    found = check("reach", **asked)
    assert found == f"passed: 1 target open and 1 target closed as declared, tried from a pod; {target} had no ready pod, so that nobody could answer"


def test_where_rules_come_after_the_pod_the_probe_waits(probe: Probe, check: Check) -> None:
    check("reach", **ASKED, settle=5)
    assert probe.pod["spec"]["containers"][0]["command"][7:9] == ["--settle", "5"]
    assert probe.pod["spec"]["activeDeadlineSeconds"] == 30 + 5 + 9


def test_a_probe_that_says_nothing(probe: Probe, check: Check) -> None:
    probe.lines = ["Traceback: no module", GOOD[0]]
    found = check("reach", **ASKED)
    assert "the probe said nothing about other:8080, 9.9.9.9:53; its log: " in found
    assert found.endswith("; check the probe's image")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"phase": "Pending", "containerStatuses": [{"name": "probe", "state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}}]},
            "image registry/booking:1 cannot be pulled: manifest unknown",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too slow"}, "DeadlineExceeded: too slow"),
        ({}, "was removed while it ran"),
    ],
)
def test_a_probe_that_does_not_run_is_removed_all_the_same(probe: Probe, check: Check, status: dict[str, Any], words: str) -> None:
    probe.status = status
    assert words in check("reach", **ASKED)
    assert probe.deleted == 1


def test_a_probe_that_cannot_be_removed_is_named(probe: Probe, check: Check) -> None:
    probe.removal = Reply(403, {"message": "not you"})
    found = check("reach", **ASKED)
    name = probe.pod["metadata"]["name"]
    assert f"failed: Pod tenant-x/{name} cannot be removed:" in found
    assert found.endswith(f"; kubectl -n tenant-x delete pod {name}")


def test_a_probe_that_takes_too_long_is_removed_before_the_deadline(probe: Probe, check: Check) -> None:
    probe.status = {"phase": "Running"}
    found = check("reach", **ASKED, deadline=4)
    assert found == "failed: it was not done before its deadline; see whether what it talks to is slow, then deploy again"
    assert probe.deleted == 1


def test_what_a_killed_run_left_is_removed(probe: Probe, check: Check, api: StandIn) -> None:
    def left(name: str, **state: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "creationTimestamp": old}, "status": {"containerStatuses": [{"name": "probe", "state": state}]}}

    old, now = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    api.items(PODS, left("old", terminated={"finishedAt": old}), left("running", running={"startedAt": old}), left("other", terminated={"finishedAt": now}))
    removed: list[str] = []
    api.answers[f"DELETE {PODS}/old"] = lambda request: removed.append(request.path.rsplit("/", 1)[-1]) or Reply(200, {})
    assert check("reach", **ASKED).startswith("passed")
    assert removed == ["old"]


def test_nothing_to_try(check: Check) -> None:
    assert check("reach", namespace="x", image="y", labels={}).startswith("failed: nothing to try: both open and closed are empty")


def test_a_pod_that_is_refused_says_why(api: StandIn, check: Check) -> None:
    api.answers[f"POST {PODS}"] = Reply(403, {"message": "violates PodSecurity"})
    assert "create refused by the API server: violates PodSecurity" in check("reach", **ASKED)


FULL = Reply(403, {"message": 'pods "reach-1" is forbidden: exceeded quota: tier, requested: limits.cpu=300m, used: limits.cpu=1900m, limited: limits.cpu=2'})


def test_room_that_pods_of_the_revision_before_still_have_is_waited_for(probe: Probe, check: Check, api: StandIn) -> None:
    refused: list[Request] = []

    def full_at_first(request: Request) -> Reply:
        if len(refused) == 2:
            return probe.create(request)
        refused.append(request)
        return FULL

    api.answers[f"POST {PODS}"] = full_at_first
    assert check("reach", **ASKED).startswith("passed")
    assert len(refused) == 2


def test_room_that_does_not_come_is_said_before_the_deadline(api: StandIn, check: Check) -> None:
    api.answers[f"POST {PODS}"] = FULL
    found = check("reach", **ASKED, deadline=4)
    assert "create refused by the API server: pods \"reach-1\" is forbidden: exceeded quota: tier, requested: limits.cpu=300m" in found
    assert found.endswith("or give the tenant more by quota_overrides")
