"""A release over a group: a bad one stops after the first waves and touches nobody else; wrong variables are refused before any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import cluster
from tests.support.audit import AuditLog
from tests.support.playbooks import REPORTS, Run, play

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SHOPS = [f"barbershop-fleet-{number}" for number in range(1, 7)]
GROUPS = ("tenants", "fleet_under_test", "vertical_barbershop", "tier_small", "market_small", "region_caba")
WRONG = {"image_overrides": {"booking": "localhost/does-not-exist:1"}}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Six tenants that do not exist yet."""
    path = tmp_path / "fleet.yml"
    hosts: dict[str, Any] = dict.fromkeys(SHOPS)
    path.write_text(yaml.safe_dump({"all": {"children": {group: {"hosts": hosts} for group in GROUPS}}}))
    return path


def plans() -> set[Path]:
    """Return the plans that were written for them."""
    return {path for name in SHOPS for path in REPORTS.glob(f"{name}/*/plan.json")}


def fleet(inventory: Path, *arguments: str, limit: str = "fleet_under_test", **extra: Any) -> Run:
    """Deploy them; their inventory stands beside the embedded one."""
    return play("deploy_vertical.yml", "-i", str(inventory), "--limit", limit, *arguments, extra=extra)


def test_a_bad_release_goes_no_further_than_its_second_wave(palermo: str, inventory: Path) -> None:
    before = set(REPORTS.glob("fleets/*/fleet.json"))
    run = fleet(inventory, **WRONG)
    assert run.code != 0
    (path,) = set(REPORTS.glob("fleets/*/fleet.json")) - before
    document = json.loads(path.read_text())
    assert [tenant["name"] for tenant in document["tenants"]] == SHOPS[:3]
    assert document["untouched"] == SHOPS[3:]
    ending = " ".join(run.output[-4000:].split())
    assert f"Fleet {document['fleet']} stopped after 3 of 6 tenants: 3 of 3 tenants went wrong" in ending
    assert "localhost/does-not-exist:1" in ending
    assert not any(cluster.exists("namespace", f"tenant-{name}") for name in SHOPS)
    assert cluster.exists("configmap", f"fleet-{document['fleet']}", "barberpro-system")


def test_each_tenant_of_a_group_gets_its_plan_whichever_is_refused(palermo: str, inventory: Path) -> None:
    described = yaml.safe_load(inventory.read_text())
    described["all"]["children"]["tenants"]["hosts"][SHOPS[0]] = WRONG
    inventory.write_text(yaml.safe_dump(described))
    before, log = plans(), AuditLog()
    run = fleet(inventory, plan_only=True)
    assert run.code != 0
    assert "localhost/does-not-exist:1" in run.output
    assert sorted(path.parent.parent.name for path in plans() - before) == SHOPS[1:]
    assert log.writes_of_the_deployer() == []


def test_wrong_variables_of_one_tenant_are_refused_before_any_is_touched(palermo: str, inventory: Path) -> None:
    described = yaml.safe_load(inventory.read_text())
    described["all"]["children"]["tenants"]["hosts"][SHOPS[4]] = {"tier": "huge"}
    inventory.write_text(yaml.safe_dump(described))
    log = AuditLog()
    run = fleet(inventory)
    assert run.code != 0
    assert "'huge'" in run.output
    assert log.writes_of_the_deployer() == []


def test_a_dry_run_of_a_fleet_writes_nothing(palermo: str, inventory: Path) -> None:
    log = AuditLog()
    run = fleet(inventory, "--check", limit=",".join(SHOPS[:2]))
    assert run.code == 0, run.output
    assert log.writes_of_the_deployer() == []
    assert "2 of 2 tenants done, 0 went wrong" in " ".join(run.output[-4000:].split())
