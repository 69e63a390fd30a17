"""New revisions, roll back to kept ones, and a deploy that was killed half-way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster
from tests.support.audit import AuditLog
from tests.support.customers import Customers
from tests.support.playbooks import Background, Run, deploy, oldest_core, play

pytestmark = pytest.mark.cluster("beside")


def number(revision: str) -> int:
    """Return the number of a revision."""
    return int(revision.removeprefix("r"))


def roll_back(tenant: str, *arguments: str, to_revision: int | None = None, **core: str) -> Run:
    """Roll a tenant back, to the newest kept revision before the current one when none is named."""
    extra: dict[str, Any] = {} if to_revision is None else {"to_revision": to_revision}
    return play("rollback_vertical.yml", "--limit", tenant, *arguments, tenant=tenant, extra=extra, **core)


def deployments(tenant: str) -> set[str]:
    """Return the names of the tenant's Deployments."""
    return {item["metadata"]["name"] for item in cluster.objects("deployments", "-n", f"tenant-{tenant}")}


@pytest.mark.parametrize(
    ("core", "pods"), [pytest.param({}, "25", id="newest"), pytest.param(oldest_core(), "24", id="oldest", marks=pytest.mark.slow)]
)
def test_new_revision_replaces_the_old_without_a_failed_request_and_roll_back_returns(caballito: str, core: dict[str, str], pods: str) -> None:
    old = cluster.revision_served(caballito)
    with Customers(caballito) as customers:
        run = deploy(caballito, extra={"quota_overrides": {"pods": pods}}, **core)
        assert run.code == 0, run.output
        assert run.report["result"] == "succeeded"
        new = cluster.revision_served(caballito)
        assert number(new) > number(old)
        assert deployments(caballito) == {f"booking-{new}", f"walkin-queue-{new}"}

        back = roll_back(caballito, to_revision=number(old), **core)
        assert back.code == 0, back.output
        assert back.report["result"] == "succeeded"
        assert f"Deployment tenant-{caballito}/booking-{old}" in {entry["after_header"] for entry in back.report["diff"]}
        assert back.report["versions"]["booking"] == run.report["versions"]["booking"]
        assert back.seconds < 120
    customers.assert_served()
    assert customers.revisions == [old, new, old]
    assert deployments(caballito) == {f"booking-{old}", f"walkin-queue-{old}"}
    status = play("status.yml", **core)
    assert status.code == 0, status.output
    assert re.search(rf"{caballito} .* {number(old)} +healthy ", status.output), status.output


def test_roll_back_to_the_revision_that_serves_changes_nothing(caballito: str) -> None:
    before = cluster.resource_versions(f"tenant-{caballito}")
    log = AuditLog(caballito)
    run = roll_back(caballito, to_revision=number(cluster.revision_served(caballito)))
    assert run.code == 0, run.output
    assert log.writes_of_the_deployer() == []
    assert cluster.resource_versions(f"tenant-{caballito}") == before


def test_killed_half_way_another_deploy_undoes_that_first(caballito: str, tmp_path: Path) -> None:
    old = cluster.revision_served(caballito)
    changed = {"quota_overrides": {"pods": "23"}}
    with Customers(caballito) as customers:
        with Background("deploy_vertical.yml", "--limit", caballito, log=tmp_path / "killed.log", extra=changed) as killed:
            killed.wait_for("Have the tenant watched")
            left = cluster.revision_served(caballito)
            killed.kill()
        run = deploy(caballito)
        assert run.code == 0, run.output
    customers.assert_served()
    assert re.search(r"The run of \S+ \(deploy since [-0-9: ]+ UTC\) was killed in step promoted; first undo it\.", run.words())
    assert customers.revisions == [old, left, old]
    assert deployments(caballito) == {f"booking-{old}", f"walkin-queue-{old}"}
    assert cluster.objects("resourcequota", "-n", f"tenant-{caballito}")[0]["spec"]["hard"]["pods"] == "30"


@pytest.mark.slow
def test_a_second_run_at_the_same_time_is_told_who_is_at_work(caballito: str, tmp_path: Path) -> None:
    changed = {"quota_overrides": {"pods": "24"}}
    with Background("deploy_vertical.yml", "--limit", caballito, log=tmp_path / "first.log", extra=changed) as first:
        first.wait_for("Bring the new revision up beside the old")
        second = deploy(caballito)
        assert second.code != 0
        assert re.search(
            rf"tenant {caballito} is being changed by \S+ \(deploy since [-0-9: ]+ UTC\); nothing was changed by this run\. Wait for its end", second.words(),
        )
        assert first.process.wait(timeout=300) == 0, first.log.read_text()
    assert deploy(caballito).code == 0
