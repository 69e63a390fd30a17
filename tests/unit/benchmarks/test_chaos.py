"""The pure parts of make chaos: the plan, what counts as half-done, whom a failed request is put down to, and the document."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import pytest

from benchmarks.chaos import page
from benchmarks.chaos.outcome import Attempt, Outcome, blamed, is_good, summary
from benchmarks.chaos.plan import FAULTS, Deploy, plan, variables
from benchmarks.chaos.run import stage_of
from benchmarks.chaos.state import Look, problems, shape
from benchmarks.chaos.writer import Failure, slot

NORTE, SUR = "chaos-norte", "chaos-sur"


def test_the_same_seed_gives_the_same_plan_with_an_equal_share_of_every_fault() -> None:
    deploys = plan(7, 100, [NORTE, SUR])
    assert deploys == plan(7, 100, [NORTE, SUR])
    assert deploys != plan(8, 100, [NORTE, SUR])
    shares = Counter(deploy.fault for deploy in deploys)
    assert set(shares) == set(FAULTS)
    assert max(shares.values()) - min(shares.values()) <= 1
    assert Counter(deploy.tenant for deploy in deploys) == {NORTE: 50, SUR: 50}
    skews = {deploy.skew for deploy in deploys}
    assert min(skews) < 0 < max(skews)
    assert {deploy.loss for deploy in deploys} == {5, 10, 20}


def test_every_deploy_changes_its_tenant() -> None:
    own = [variables(1, deploy.number, deploy.tenant) for deploy in plan(1, 40, [NORTE, SUR]) if deploy.tenant == NORTE]
    for before, after in pairwise(own):
        assert before["quota_overrides"] != after["quota_overrides"]
        assert before["business"]["branding"] != after["business"]["branding"]
        assert variables(1, 0, NORTE, other=True)["quota_overrides"] not in (before["quota_overrides"], after["quota_overrides"])


@pytest.mark.parametrize(("tasks", "stage"), [
    ([], "validation"),
    (["Plan", "Gate of validation"], "validation"),
    (["Gate of validation", "Converge namespace, quota, access and network policies"], "infrastructure"),
    (["Gate of validation", "Gate of infrastructure", "Gate of containers"], "containers"),
    (["Gate of monitoring", "Remove what the revision does not own"], "commit"),
])  # fmt: skip
def test_the_stage_is_read_from_what_a_run_has_printed(tasks: list[str], stage: str) -> None:
    log = "".join(f"\nTASK [barberpro.platform.pipeline : {task}] ****\nok: [chaos-norte]\n" for task in tasks)
    assert stage_of(log) == stage


def test_no_two_bookings_overlap() -> None:
    slots = [slot(date(2027, 1, 1), number) for number in range(10_000)]
    assert len(set(slots)) == len(slots)
    assert max(datetime.fromisoformat(start) for start, _staff in slots) < datetime.fromisoformat("2027-03-01T00:00:00-03:00")
    assert {(datetime.fromisoformat(start).minute % 15, staff) for start, staff in slots} == {(0, "ana"), (0, "beto")}


NAMES = ("Deployment/booking-r3", "Deployment/walkin-queue-r3", "Job/booking-migrate-r3", "ResourceQuota/tier", "HTTPRoute/site")
SHAPE = shape(NAMES)


def pod(name: str, component: str, ready: bool = True, owner: str = "ReplicaSet", **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/component": component}
    owners = [{"kind": owner}] if owner else []
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": owners, **metadata}, "status": status}


PODS = (pod("b", "booking"), pod("w", "walkin-queue"), pod("m", "booking-migrate", ready=False, owner="Job"))


def route(backend: str, headers: bool = False) -> dict[str, Any]:
    match: dict[str, Any] = {"path": {"value": "/"}, **({"headers": [{}]} if headers else {})}
    return {"spec": {"rules": [{"matches": [match], "backendRefs": [{"name": backend}]}]}}


WHOLE: dict[str, Any] = {
    "journal": {"closed": "2026-11-25T00:00:00Z"},
    "record": {"current": 3, "finished": 3, "pending": None},
    "lease": {"spec": {}},
    "objects": frozenset(NAMES),
    "routes": (route("booking-r3"), route("booking-r3", headers=True)),
    "pods": PODS,
    "served_by": "r3",
    "tagline": "Semilla 1, entrega 2",
}


HELD = {"spec": {"holderIdentity": "x", "renewTime": "1970-01-01T00:00:10.000000Z", "leaseDurationSeconds": 120}}


def test_a_lease_that_nobody_renews_keeps_nobody_off() -> None:
    assert problems(Look(**{**WHOLE, "lease": HELD, "now": 129.0}), SHAPE) == ["its lease is held"]
    assert problems(Look(**{**WHOLE, "lease": HELD, "now": 131.0}), SHAPE) == []


def test_a_whole_tenant_has_no_problem() -> None:
    assert problems(Look(**WHOLE), SHAPE, "Semilla 1, entrega 2") == []


@pytest.mark.parametrize(("change", "sentence"), [
    ({"journal": None}, "its journal is missing"),
    ({"journal": {"closed": None}}, "its journal is open"),
    ({"lease": HELD}, "its lease is held"),
    ({"record": {"current": 3, "finished": 3, "pending": 4}}, "its record says pending 4, current 3, finished 3"),
    ({"record": {"current": 4, "finished": 3, "pending": None}}, "its record says pending None, current 4, finished 3"),
    ({"objects": frozenset([*NAMES, "Deployment/booking-r4"])}, "objects of revisions r3, r4 are there"),
    ({"objects": frozenset([*NAMES, "ConfigMap/scratch"])}, "ConfigMap/scratch is left over"),
    ({"objects": frozenset(NAMES[:-1])}, "HTTPRoute/site is missing"),
    ({"routes": (route("booking-r2"),)}, "customers are served by r2, r3"),
    ({"served_by": ""}, "customers are served by nobody, r3"),
    ({"strays": ("Pod barberpro-preflight/rehearsal",)}, "Pod barberpro-preflight/rehearsal is left over"),
    ({"pods": (*PODS, pod("reach-1", "booking", owner=""))}, "Pod reach-1 is left over"),
    ({"pods": (*PODS, pod("old", "booking", deletionTimestamp="now"))}, "Pod old is still ending"),
    ({"pods": PODS[:1]}, "no pod of walkin-queue is ready"),
    ({"pods": (*PODS[1:], pod("b", "booking", ready=False))}, "Pod b is not ready"),
    ({"tagline": "another"}, "its settings are those of another deploy ('another')"),
])  # fmt: skip
def test_what_is_half_done_is_named(change: dict[str, Any], sentence: str) -> None:
    assert sentence in problems(Look(**{**WHOLE, **change}), SHAPE, "Semilla 1, entrega 2")


def outcome(number: int, fault: str, *codes: int, tenant: str = NORTE, begun: float = 0.0, problems: tuple[str, ...] = ()) -> Outcome:
    attempts = tuple(Attempt(code, 20.0, "succeeded" if code == 0 else "rolled_back", said="no | such image") for code in codes)
    return Outcome(Deploy(number, tenant, fault, 0.5, 0.1), attempts, problems, begun, begun + 30)


def test_a_missing_image_must_be_refused_first() -> None:
    assert outcome(1, "image_missing", 1, 0).succeeded
    assert not outcome(1, "image_missing", 0).succeeded
    assert outcome(1, "runner_killed", -9, 0).succeeded
    assert not outcome(1, "none", 1, 1, 1, 1).succeeded


def test_a_failed_request_is_put_down_to_what_takes_away_what_serves() -> None:
    at_work = [outcome(1, "clock_skew"), outcome(2, "database_restarted", tenant=SUR, begun=10), outcome(3, "runner_killed", tenant=SUR, begun=40)]
    assert [blamed(moment, NORTE, at_work) for moment in (5, 20, 45)] == ["clock_skew", "database_restarted", "none"]
    assert [blamed(moment, SUR, at_work) for moment in (5, 20, 45)] == ["none", "database_restarted", "runner_killed"]


RUNS = [outcome(0, "none", 0), outcome(1, "image_missing", 1, 0), outcome(2, "runner_killed", -9, 0, tenant=SUR), outcome(3, "disk_full", 0)]
BOOKINGS = {"asked": 11, "confirmed": 10, "lost": 0}


def test_the_table_counts_what_happened() -> None:
    result = summary(RUNS, {NORTE: [Failure(5, "HTTP 503")]}, BOOKINGS)
    assert (result["deploys"], result["succeeded"], result["success_rate"], result["half_done"]) == (4, 4, 1.0, 0)
    lines = {line["fault"]: line for line in result["by_fault"]}
    assert [lines["image_missing"][key] for key in ("deploys", "at_once", "after_another_attempt", "failed")] == [1, 1, 0, 0]
    assert [lines["runner_killed"][key] for key in ("deploys", "at_once", "after_another_attempt", "failed")] == [1, 0, 1, 0]
    assert sum(line["failed_requests"] for line in lines.values()) == 1
    assert is_good(result)


@pytest.mark.parametrize("wrong", [
    {"success_rate": 0.95}, {"half_done": 1}, *({"bookings": {**BOOKINGS, **wrong}} for wrong in ({"lost": 1}, {"lost": -1}, {"confirmed": 0})),
])  # fmt: skip
def test_a_run_that_is_not_good(wrong: dict[str, Any]) -> None:
    assert not is_good({"success_rate": 1.0, "half_done": 0, "bookings": BOOKINGS, **wrong})


def test_the_document_tells_it() -> None:
    result = {
        **summary([*RUNS, outcome(4, "pods_killed", 0, problems=("its lease is held",))], {}, BOOKINGS),
        "command": "make chaos", "seed": 1, "begun": "today", "seconds": 120, "versions": {"Kubernetes": "v1"}, "machine": {"cores": 2, "load_average": [1.0]},
    }  # fmt: skip
    text = page.document(result)
    assert "| succeeded in the end | 5 of 5 (100.0 %; more than 95 % are asked for) |" in text
    assert "| left a tenant half-done | 1 |" in text
    assert "| runner killed | 1 | 0 | 1 | 0 | 0 | 20.0 | 30.0 | 0 |" in text
    assert "| 2 | runner killed, then something else is deployed |  | rolled_back | 2 | no / such image |" in text
    assert "| 4 | pods killed |  | succeeded | 1 | its lease is held |" in text
    assert "disk full, " not in text.split("## What needed")[1].split("## What this")[0]
