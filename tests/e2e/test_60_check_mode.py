"""--check --diff tells what would change, and writes nothing."""

from __future__ import annotations

import pytest

from tests.support import cluster
from tests.support.audit import AuditLog
from tests.support.playbooks import deploy, deploy_new, oldest_core, play

pytestmark = pytest.mark.cluster
CHECK = ("--check", "--diff")


def test_of_a_deploy_with_changes_shows_them(palermo: str) -> None:
    before = cluster.resource_versions(f"tenant-{palermo}")
    log = AuditLog()
    run = deploy(palermo, *CHECK, extra={"quota_overrides": {"pods": "22"}})
    assert run.code == 0, run.output
    assert "-    pods: '30'" in run.output
    assert "+    pods: '22'" in run.output
    assert log.writes_of_the_deployer() == []
    assert cluster.resource_versions(f"tenant-{palermo}") == before


def test_of_the_oldest_ansible_core_agrees(palermo: str) -> None:
    before = cluster.resource_versions(f"tenant-{palermo}")
    run = deploy(palermo, *CHECK, **oldest_core())
    assert run.code == 0, run.output
    assert "changed=0" in run.output
    assert cluster.resource_versions(f"tenant-{palermo}") == before


def test_of_a_tenant_that_does_not_exist_yet(palermo: str) -> None:
    log = AuditLog()
    run = deploy_new("barbershop-imagined", *CHECK)
    assert run.code == 0, run.output
    assert log.writes_of_the_deployer() == []
    assert not cluster.exists("namespace", "tenant-barbershop-imagined")


def test_of_a_roll_back(palermo: str) -> None:
    # There must be an earlier revision to return to, whichever tests ran before.
    for extra in ({"quota_overrides": {"pods": "22"}}, {}):
        assert deploy(palermo, extra=extra).code == 0
    cluster.settle(f"tenant-{palermo}")
    serving = cluster.ask(palermo).headers["x-barberpro-revision"]
    before = cluster.resource_versions(f"tenant-{palermo}")
    log = AuditLog()
    run = play("rollback_vertical.yml", "--limit", palermo, *CHECK)
    assert run.code == 0, run.output
    assert log.writes_of_the_deployer() == []
    assert cluster.resource_versions(f"tenant-{palermo}") == before
    assert cluster.ask(palermo).headers["x-barberpro-revision"] == serving


def test_of_the_platform(facts: dict) -> None:
    log = AuditLog()
    run = play("deploy_platform.yml", *CHECK)
    assert run.code == 0, run.output
    writes = [
        f"{event['verb']} {event['requestURI']}" for event in log.events()
        if event["verb"] in {"create", "update", "patch", "delete"} and "dryRun=All" not in event["requestURI"]
        and event.get("userAgent", "").lower().startswith(("ansible", "openapi-generator", "helm", "barberpro", "python"))
        and "reviews" not in event["requestURI"]
    ]
    assert writes == []
