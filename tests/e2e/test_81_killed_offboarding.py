"""An offboarding that is killed half-way: nobody deploys on what is left, and the next one leaves nothing, nor of what was killed before it."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, sql
from tests.support.playbooks import Background, deploy_new, play
from tests.support.waiting import until

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]


@pytest.fixture
def leaving(boedo_deployed: None) -> str:
    """Name of the second tenant, deployed anew if it has left."""
    run = deploy_new(cluster.BOEDO)
    assert run.code == 0, run.output
    return cluster.BOEDO


def left_open(tenant: str) -> None:
    """Make what a deploy leaves that was killed in its rehearsal and, gone on with, in its backup."""
    scratch = sql.scratch_of(tenant)
    sql.run(f'DROP SCHEMA IF EXISTS "{scratch}"')
    sql.run(f'CREATE SCHEMA "{scratch}"')
    for role in ("owner", "app"):
        sql.run(f'DROP ROLE IF EXISTS "{scratch}_{role}"')
        sql.run(f'CREATE ROLE "{scratch}_{role}" LOGIN')
    for namespace, name in (("barberpro-preflight", f"rehearsal-{tenant}"), ("barberpro-data", f"backup-{tenant}")):
        cluster.kubectl("delete", "secret", name, "-n", namespace, "--ignore-not-found")
        cluster.kubectl("create", "secret", "generic", name, "-n", namespace, "--from-literal=PGPASSWORD=left-behind")
    where = ("secret", f"journal-{tenant}", "-n", "barberpro-system")
    document: dict[str, Any] = json.loads(cluster.kubectl("get", *where, "-o", "go-template={{index .data.journal | base64decode}}"))
    steps = [
        {"step": step, "intended": "2026-11-26T00:00:00.000+00:00", "done": None, "undo": undo}
        for step, undo in (("rehearsal", {"schema": scratch}), ("backup", {"backup": "never-taken"}))
    ]
    document |= {"closed": None, "outcome": None, "steps": [*document["steps"][:1], *steps]}
    data = base64.b64encode(json.dumps(document).encode()).decode()
    cluster.kubectl("patch", *where, "--type=merge", "-p", json.dumps({"data": {"journal": data}}))


def labelled(tenant: str) -> list[dict[str, Any]]:
    return cluster.objects("secrets,configmaps,leases", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={tenant}")


def test_a_legal_hold_that_comes_during_the_export_keeps_everything(leaving: str, tmp_path: Path) -> None:
    extra = {"tenant_name": leaving, "confirm_offboarding": leaving, "pipeline_export_path": str(tmp_path)}
    before = sql.schema_of(leaving)
    with Background("offboard_tenant.yml", log=tmp_path / "held.log", extra=extra) as run:
        run.wait_for("Let no more customers in")
        with sql.locked(before, "walkin_days") as holder:
            until(lambda: sql.waiting_for(holder), "the export to read the table", 300, good=lambda roles: f"{before}_ro" in roles)
            cluster.kubectl("annotate", "namespace", f"tenant-{leaving}", "barberpro.platform/legal-hold=case 7")
        assert run.process.wait(timeout=300) != 0
    cluster.kubectl("annotate", "namespace", f"tenant-{leaving}", "barberpro.platform/legal-hold-")
    said = " ".join(run.log.read_text().split())
    assert f"Tenant {leaving} has been put under a legal hold meanwhile (case 7): nothing of it was destroyed. It was exported, and customers have been" in said
    assert [item["spec"].get("holderIdentity") for item in labelled(leaving) if item["kind"] == "Lease"] == [None]
    assert deploy_new(leaving).code == 0
    assert (cluster.ask(leaving).status, sql.schema_of(leaving)) == (200, before)


def test_nobody_deploys_on_a_tenant_that_is_leaving_and_the_next_offboarding_ends_it(leaving: str, tmp_path: Path) -> None:
    schema, scratch = sql.schema_of(leaving), sql.scratch_of(leaving)
    left_open(leaving)
    extra = {"tenant_name": leaving, "confirm_offboarding": leaving, "pipeline_export_path": str(tmp_path)}
    checked = play("offboard_tenant.yml", "--check", extra=extra)
    assert checked.code == 0, checked.output
    assert [item["spec"].get("holderIdentity") for item in labelled(leaving) if item["kind"] == "Lease"] == [None]
    with Background("offboard_tenant.yml", log=tmp_path / "killed.log", extra=extra) as run:
        run.wait_for("Destroy the key")
        # Backups, name and records are still to go. It stands still, so that it is known where: a run that lives, then one that was killed.
        os.killpg(run.process.pid, signal.SIGSTOP)
        meanwhile = deploy_new(leaving)
        run.kill()
    assert meanwhile.code != 0
    assert f"tenant {leaving} is being changed by " in meanwhile.words()
    refused = deploy_new(leaving)
    assert refused.code != 0
    assert f"tenant {leaving} is being offboarded since " in refused.words()
    assert "finish it with offboard_tenant.yml" in refused.words()
    assert not cluster.exists("namespace", f"tenant-{leaving}")
    again = play("offboard_tenant.yml", extra=extra)
    assert again.code == 0, again.output
    assert labelled(leaving) == []
    for name in (schema, scratch):
        assert sql.rows(f"SELECT nspname FROM pg_namespace WHERE nspname = '{name}' UNION SELECT rolname FROM pg_roles WHERE rolname LIKE '{name}%'") == []
    for namespace, name in (("barberpro-preflight", f"rehearsal-{leaving}"), ("barberpro-data", f"backup-{leaving}")):
        assert cluster.kubectl("get", "secret", name, "-n", namespace, "--ignore-not-found") == ""
    record = json.loads(cluster.objects("configmap", f"offboarding-{leaving}", "-n", "barberpro-system")[0]["data"]["record.json"])
    steps = {step["step"]: step for step in record["steps"]}
    assert list(steps) == ["export", "found", "workloads", "key", "database", "backups", "name", "records"]
    # What the killed run did is not told as if it had never been there, noted or not.
    assert f"namespace tenant-{leaving} with everything in it" in steps["found"]["parts"]
    assert (steps["key"]["key"], steps["key"]["destroyed"]["exists"]) == (f"tenant-{leaving}", True)
    assert f"Namespace tenant-{leaving}" in steps["workloads"]["objects"]


def test_customers_are_kept_out_while_their_bookings_are_exported_and_a_deploy_lets_them_in_again(leaving: str, tmp_path: Path) -> None:
    assert cluster.ask(leaving).status == 200
    before = sql.schema_of(leaving)
    for item in cluster.objects("deployments", "-n", f"tenant-{leaving}", "-l", "app.kubernetes.io/component=booking"):
        cluster.kubectl("scale", "deployment", item["metadata"]["name"], "-n", f"tenant-{leaving}", "--replicas=0")
    extra = {"tenant_name": leaving, "confirm_offboarding": leaving, "pipeline_export_path": str(tmp_path)}
    failed = play("offboard_tenant.yml", extra=extra)
    assert failed.code != 0
    assert (
        f"Nothing of tenant {leaving} was destroyed, but customers have been kept out since the export began: run offboard_tenant.yml again, or let them in "
        "with deploy_vertical.yml."
    ) in failed.words()
    assert cluster.objects("httproutes", "-n", f"tenant-{leaving}") == []
    assert cluster.ask(leaving).status == 404
    again = deploy_new(leaving)
    assert again.code == 0, again.output
    assert (cluster.ask(leaving).status, sql.schema_of(leaving)) == (200, before)
