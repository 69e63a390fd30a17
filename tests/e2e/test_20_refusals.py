"""Wrong input: one clear sentence each, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, logins
from tests.support.audit import AuditLog
from tests.support.playbooks import Run, deploy, deploy_new, play

pytestmark = pytest.mark.cluster


def refused(run: Run, log: AuditLog, account: str = "") -> str:
    """The run, of the deployer or of a service account, ended before its first write and says that; return all that it said, in one line."""
    assert run.code != 0, run.output
    assert log.writes_of_the_deployer() == []
    if account:
        assert log.writes_of(f"system:serviceaccount:{logins.NAMESPACE}:{account}") == []
    return run.words()


WRONG = {
    "vertical": ("bakery", "vertical 'bakery' is unknown: choose one of barbershop"),
    "tier": ("huge", "tier 'huge' is unknown: choose one of small, medium, large, enterprise"),
    "market_size": ("vast", "market_size 'vast' is unknown: choose one of small, medium, large, metro"),
    "budget_minutes": (-5, "budget_minutes '-5' is no budget"),
    "tenant_host": ("shop.example.org", "tenant_host 'shop.example.org' is not one label below the zone"),
    "image_overrides": ({"bookings": "x"}, "image_overrides names bookings, which the image catalogue does not have"),
    "quota_overrides": ({"cpu": "lots", "objects": 0}, "has a value that is no amount: pods, volumes, objects are whole numbers above 0"),
}


def test_every_wrong_value_has_its_sentence(facts: dict[str, Any]) -> None:
    log = AuditLog()
    run = deploy_new("barbershop-wrong", extra={name: value for name, (value, _sentence) in WRONG.items()})
    said = refused(run, log)
    assert [sentence for _value, sentence in WRONG.values() if sentence not in said] == []
    assert "Nothing was changed" in said
    assert not cluster.exists("namespace", "tenant-barbershop-wrong")


def test_unknown_vertical_is_refused_in_one_sentence(facts: dict[str, Any]) -> None:
    log = AuditLog()
    said = refused(deploy_new("barbershop-wrong", extra={"vertical": "bakery"}), log)
    assert WRONG["vertical"][1] in said
    assert "Nothing was changed" in said


def test_name_of_sixty_four_characters_is_refused(facts: dict[str, Any]) -> None:
    log = AuditLog()
    said = refused(deploy_new("a" * 64), log)
    assert "(64 characters) is no valid name: use at most 40" in said
    assert "Nothing was changed" in said


def test_no_tenant_named_is_refused(facts: dict[str, Any]) -> None:
    log = AuditLog()
    said = refused(play("deploy_vertical.yml"), log)
    assert "No tenant was named" in said
    assert "--limit TENANT" in said
    assert "-e tenant_name=NAME" in said


def test_one_name_for_several_hosts_is_refused(facts: dict[str, Any]) -> None:
    log = AuditLog()
    run = play("deploy_vertical.yml", "--limit", "tenants", extra={"tenant_name": "barbershop-recoleta"})
    said = refused(run, log)
    assert "name different tenants" in said


def test_host_name_of_another_tenant_is_refused(palermo: str) -> None:
    log = AuditLog()
    run = deploy_new("barbershop-imitator", extra={"tenant_host": cluster.host_of(palermo)})
    said = refused(run, log)
    assert cluster.host_of(palermo) in said
    assert palermo in said
    assert not cluster.exists("namespace", "tenant-barbershop-imitator")


def test_namespace_that_is_not_ours_is_refused(facts: dict[str, Any]) -> None:
    cluster.kubectl("create", "namespace", "tenant-squatter")
    try:
        log = AuditLog()
        said = refused(deploy_new("squatter"), log)
        assert "tenant-squatter" in said
    finally:
        cluster.kubectl("delete", "namespace", "tenant-squatter", "--wait=false")


def test_quota_too_small_is_refused_with_the_numbers(palermo: str) -> None:
    log = AuditLog()
    run = deploy(palermo, extra={"quota_overrides": {"memory": "100Mi"}})
    said = refused(run, log)
    assert "memory" in said
    assert "100Mi" in said
    assert cluster.ask(palermo).status == 200


def test_unreachable_database_is_refused(palermo: str) -> None:
    log = AuditLog()
    run = deploy(palermo, extra={"database_admin_port": 9})
    said = refused(run, log)
    assert "PostgreSQL at" in said
    assert ":9 does not answer" in said
    assert "check database_admin_*" in said


def test_unreachable_api_server_is_refused(palermo: str, tmp_path: Path) -> None:
    def elsewhere(config: dict[str, Any]) -> None:
        config["clusters"][0]["cluster"]["server"] = f"https://{cluster.facts()['node_ip']}:9"

    log = AuditLog()
    run = deploy(palermo, BARBERPRO_KUBECONFIG=logins.kubeconfig_with(tmp_path / "elsewhere", elsewhere))
    said = refused(run, log)
    assert f"{cluster.facts()['node_ip']}:9" in said
    # Not for as long as a server that has answered before is waited for, by each task that asks it.
    assert run.seconds < 60


def test_missing_permissions_are_listed(palermo: str, tmp_path: Path) -> None:
    log = AuditLog()
    with logins.service_account("nobody-special", tmp_path / "nobody") as kubeconfig:
        run = deploy(palermo, BARBERPRO_KUBECONFIG=kubeconfig)
    said = refused(run, log, "nobody-special")
    assert "nobody-special" in said
    assert "may not" in said


LACKING = {
    # What the record of the run is kept in, of which no dry run speaks.
    ("create", "coordination.k8s.io", "leases"): "may not create leases.coordination.k8s.io in barberpro-system",
    # And the journal, which is written whole.
    ("update", "", "secrets"): "may not update secrets in barberpro-system",
    # The same for pods, which controllers make, and gates for themselves.
    ("delete", "", "pods"): "may not delete pods in tenant-barbershop-palermo",
    # What a dry run of the plan would meet first.
    ("patch", "monitoring.coreos.com", "prometheusrules"): "may not patch prometheusrules.monitoring.coreos.com in tenant-barbershop-palermo",
}


@pytest.mark.parametrize(("lacking", "sentence"), LACKING.items(), ids=["-".join(one) for one in LACKING])
def test_one_missing_permission_of_many_is_named_alone(palermo: str, tmp_path: Path, lacking: tuple[str, str, str], sentence: str) -> None:
    log = AuditLog()
    with logins.deployer_without(*lacking, tmp_path / "lesser") as kubeconfig:
        run = deploy(palermo, BARBERPRO_KUBECONFIG=kubeconfig)
    said = refused(run, log, f"e2e-lesser-{lacking[2]}-{lacking[0]}")
    assert f"{sentence}; use the deployer's kubeconfig, or run deploy_platform.yml, which installs its ClusterRole" in said
    assert cluster.ask(palermo).status == 200


def test_roll_back_to_a_revision_that_is_not_kept_is_refused(palermo: str) -> None:
    log = AuditLog()
    run = play("rollback_vertical.yml", "--limit", palermo, extra={"to_revision": 99})
    said = refused(run, log)
    assert "Revision '99' of tenant barbershop-palermo is not kept: choose one of" in said
    assert "Nothing was changed" in said
    assert cluster.ask(palermo).status == 200
