"""Deploys that fail: they stop at their stage, undo what they changed, say why, and no customer notices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cluster, images, looks, sql
from tests.support.customers import Customers
from tests.support.playbooks import Run, deploy, deploy_new, oldest_core, remove

pytestmark = pytest.mark.cluster

WRONG_IMAGE = "localhost/does-not-exist:1"


def footprint(tenant: str) -> dict[str, Any]:
    """Return the specs of everything in a tenant's namespace that a deploy writes, without what controllers make of it."""
    kinds = cluster.KINDS.replace(",pods,", ",").replace("jobs,", "")
    return {
        f"{item['kind']}/{item['metadata']['name']}": {
            "labels": item["metadata"].get("labels"),
            **{key: value for key, value in item.items() if key in {"spec", "rules", "subjects"}},
        }
        for item in cluster.objects(kinds, "-n", f"tenant-{tenant}")
    }


def settings(tenant: str) -> Any:
    """Return the business as customers see it."""
    return cluster.ask(tenant, "/api/v1/business").json()


def failed_at(run: Run, stage: str, *parts: str) -> None:
    """The run failed at `stage`; report and last lines say what, where, why."""
    assert run.code != 0, run.output
    # Before the first change there is nothing to undo; later, everything is.
    assert run.report["result"] == ("failed" if stage == "validation" else "rolled_back"), run.output
    assert [entry["result"] for entry in run.report["stages"]][-1] == "failed"
    assert run.report["stages"][-1]["name"] == stage, run.output
    # A spent budget leaves its checks untried.
    assert any(check["outcome"] != "passed" for check in run.report["stages"][-1]["checks"])
    ending = " ".join(run.output[-5000:].split())
    for part in (stage, *parts):
        assert part in ending, f"{part!r} is not in the last lines:\n{run.output[-5000:]}"
        assert part in json.dumps(run.report, ensure_ascii=False), f"{part!r} is not in the report"


@pytest.fixture
def untouched(palermo: str) -> Iterator[str]:
    """The demo tenant, with customers who must all be served, and which must look afterwards as it looked before."""
    before, business = footprint(palermo), settings(palermo)
    with Customers(palermo) as customers:
        yield palermo
    customers.assert_served()
    assert customers.revisions[-1] == customers.revisions[0], f"customers ended on another revision: {customers.revisions}"
    assert settings(palermo) == business
    assert footprint(palermo) == before


def test_wrong_image_is_named_within_a_minute(untouched: str) -> None:
    run = deploy(untouched, extra={"image_overrides": {"booking": WRONG_IMAGE}})
    failed_at(run, "validation", WRONG_IMAGE)
    assert run.seconds < 60


def test_image_that_no_node_can_pull_is_given_up_in_seconds(untouched: str) -> None:
    # The registry has its manifest, so that validation passes, and not all of its layers.
    image = images.with_a_lost_layer("walkin_queue")
    run = deploy(untouched, extra={"image_overrides": {"walkin_queue": image}})
    failed_at(run, "containers", "walkin-queue", image)
    assert {check["outcome"] for check in run.stage("validation")["checks"]} == {"passed"}
    assert run.seconds < 120


def test_crash_looping_container_is_given_up_in_seconds(untouched: str) -> None:
    run = deploy(untouched, extra={"image_overrides": {"walkin_queue": cluster.facts()["images"]["prometheus"]}})
    failed_at(run, "containers", "walkin-queue")
    assert run.seconds < 120


def test_failing_gate_puts_back_even_the_settings(untouched: str) -> None:
    closed = {day: [] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}
    run = deploy(untouched, "--diff", "-vvv", extra={"business": {"name": "Cerrada", "opening_hours": closed}, "quota_overrides": {"pods": "28"}})
    failed_at(run, "testing", "slot")
    assert "settings: as before" in run.report["undone"]


def test_expired_budget_after_promotion_returns_the_route(untouched: str) -> None:
    # The monitoring stage comes after promotion: nothing but the route switch back keeps the customers on the old revision.
    run = deploy(untouched, extra={"pipeline_stage_budget_seconds": {"monitoring": 0.01}, "quota_overrides": {"pods": "27"}})
    failed_at(run, "monitoring", "budget")
    assert any(line.startswith("objects: ") for line in run.report["undone"])


def test_a_stage_that_is_slower_than_its_budget_is_cut_and_undone(untouched: str) -> None:
    # Two pods that begin take twice as long, and nothing of them is known before the stage.
    run = deploy(untouched, extra={"pipeline_stage_budget_seconds": {"containers": 2}, "quota_overrides": {"pods": "26"}})
    failed_at(run, "containers", "the budget of 2.0 s was spent during ")
    assert "give the stage more time (pipeline_stage_budget_seconds, budget_minutes) or find out what is slow. Undone: objects: " in run.words()
    (stage,) = [stage for stage in run.report["stages"] if stage["name"] == "containers"]
    assert stage["elapsed_seconds"] >= 2
    assert any(line.startswith("objects: ") for line in run.report["undone"])


@pytest.mark.parametrize("core", [pytest.param({}, id="newest"), pytest.param(oldest_core(), id="oldest", marks=pytest.mark.slow)])
def test_first_deploy_that_fails_removes_what_it_made(facts: dict[str, Any], core: dict[str, str]) -> None:
    tenant = "barbershop-doomed"
    remove(tenant)
    before = sql.snapshot()
    run = deploy_new(tenant, extra={"image_overrides": {"walkin_queue": facts["images"]["prometheus"]}}, **core)
    failed_at(run, "containers", "walkin-queue")
    assert "NOT undone" not in run.output
    assert "objects: " in run.report["undone"][0]
    assert "the first deploy was removed with its namespace" in run.report["undone"][0]
    assert any(line.startswith("database: dropped the empty schema t_") for line in run.report["undone"])
    assert ("key: destroyed" in run.report["undone"]) is ("vault" in facts["images"])
    assert sql.snapshot() == before
    assert looks.record(tenant) == []
    journal = cluster.kubectl("get", "secret", f"journal-{tenant}", "-n", "barberpro-system", "-o", "go-template={{index .data.journal | base64decode}}")
    assert json.loads(journal)["outcome"] == "undone"
    assert not cluster.exists("namespace", f"tenant-{tenant}")
    # Where there is a Vault, its booking pod had made itself a data key by then: that is no row of the business.
    assert any(line.startswith("database: dropped the empty schema ") for line in run.report["undone"]), run.report["undone"]
    # What stays is the record, so that the numbers of its revisions are never used twice, and the closed journal.
    left = [item["metadata"]["name"] for item in cluster.objects("secrets", "-n", "barberpro-system") if tenant in item["metadata"]["name"]]
    assert set(left) == {f"release-{tenant}-record", f"journal-{tenant}"}
    remove(tenant)
    left = [item["metadata"]["name"] for item in cluster.objects("secrets,leases", "-n", "barberpro-system") if tenant in item["metadata"]["name"]]
    assert left == []
