"""A tenant changes its tier by one run of the playbook, up and down; a tier that does not hold what is there is refused before anything is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support import cluster, sql
from tests.support.playbooks import deploy_new, play

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]
TIERS: dict[str, dict[str, Any]] = yaml.safe_load((cluster.ROOT / "roles/vertical_base/defaults/main.yml").read_text())["vertical_base_tiers"]


def expect(namespace: str, tier: str) -> None:
    """The namespace says the tier, its quota is in force with the tier's figures, and no container may be larger than the tier."""
    wanted = TIERS[tier]
    assert cluster.objects("namespace", namespace)[0]["metadata"]["labels"]["barberpro.platform/tier"] == tier
    quota = cluster.objects("resourcequota", "tier", "-n", namespace)[0]
    hard = quota["spec"]["hard"]
    assert quota["status"]["hard"] == hard
    figures = {"requests.cpu": "cpu", "limits.cpu": "cpu", "requests.memory": "memory", "limits.memory": "memory", "requests.storage": "storage"}
    assert {key: hard[key] for key in figures} == {key: wanted[figure] for key, figure in figures.items()}
    assert (hard["pods"], hard["persistentvolumeclaims"]) == (str(wanted["pods"]), str(wanted["volumes"]))
    assert hard["limits.ephemeral-storage"] == wanted["ephemeral_storage"]
    assert hard["secrets"] == hard["count/httproutes.gateway.networking.k8s.io"] == str(wanted["objects"])
    limits = cluster.objects("limitrange", "tier", "-n", namespace)[0]["spec"]["limits"]
    assert limits[0]["max"] == {"cpu": wanted["cpu"], "memory": wanted["memory"], "ephemeral-storage": wanted["ephemeral_storage"]}
    assert limits[1]["max"]["storage"] == wanted["storage"]
    role = f"{sql.schema_of(namespace.removeprefix('tenant-'))}_app"
    assert sql.rows(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'") == [(wanted["connections"] + 10,)]


def test_a_tier_changes_as_a_whole_or_not_at_all_and_goes_where_the_revision_goes(boedo: str) -> None:
    namespace = f"tenant-{boedo}"

    def number() -> int:
        return int(cluster.ask(boedo).headers["x-barberpro-revision"].removeprefix("r"))

    expect(namespace, "small")
    small, before = number(), cluster.resource_versions(namespace)
    run = deploy_new(boedo, extra={"tier": "medium", "database_connections_kept": 960})
    assert run.code != 0
    assert "is to hold 90 connections (it may hold 50 now), and PostgreSQL at" in run.words()
    assert "max_connections is 1000, 963 are kept for administrators, migrations, backups and exports" in run.words()
    assert run.report["stages"][0]["result"] == "failed"
    assert cluster.resource_versions(namespace) == before
    expect(namespace, "small")

    run = deploy_new(boedo, extra={"tier": "large", "pipeline_stage_budget_seconds": {"testing": 0.01}})
    assert run.report["result"] == "rolled_back", run.output
    assert "database: 50 connections as before" in run.report["undone"]
    expect(namespace, "small")

    run = deploy_new(boedo, extra={"tier": "large"})
    assert run.code == 0, run.output
    expect(namespace, "large")
    assert cluster.ask(boedo).status == 200
    large = number()
    refused_while_in_use(boedo, small)

    # Before the promotion, when nothing of the smaller tier's limit may be in force, and behind it, when it is.
    for stage in ("testing", "monitoring"):
        run = deploy_new(boedo, extra={"tier": "small", "pipeline_stage_budget_seconds": {stage: 0.01}})
        assert run.report["result"] == "rolled_back", run.output
        expect(namespace, "large")

    def back(revision: int, tier: str) -> None:
        run = play("rollback_vertical.yml", tenant=boedo, extra={"tenant_name": boedo, "to_revision": revision})
        assert run.code == 0, run.output
        expect(namespace, tier)
        assert number() == revision

    back(small, "small")
    assert deploy_new(boedo).report["result"] == "unchanged"
    back(large, "large")

    run = deploy_new(boedo, extra={"tier": "small"})
    assert run.code == 0, run.output
    expect(namespace, "small")
    assert cluster.ask(boedo).status == 200


def refused_while_in_use(tenant: str, small: int) -> None:
    """Try the small tier, by a deploy and by a roll back to a revision of it, with a volume that it does not have room for."""
    namespace = f"tenant-{tenant}"
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "archive", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": cluster.facts()["storage_class"], "resources": {"requests": {"storage": "200Gi"}}},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    try:
        cluster.settle(namespace)
        before = cluster.resource_versions(namespace)
        back = {"tenant_name": tenant, "to_revision": small}
        for run in (deploy_new(tenant, extra={"tier": "small"}), play("rollback_vertical.yml", tenant=tenant, extra=back)):
            assert run.code != 0
            assert f"quota of {namespace}: requests.storage: 200Gi in use, and 100Gi are allowed; choose a larger tier" in run.words()
            assert run.report["stages"][0]["result"] == "failed"
            assert run.report["result"] == "failed", "refused before the first change, so there is nothing to undo"
            assert cluster.resource_versions(namespace) == before
        expect(namespace, "large")
    finally:
        cluster.kubectl("delete", "persistentvolumeclaim", "archive", "-n", namespace)
