"""plan_only says exactly what the run that follows does, in the cluster, the database and the zone, and writes nothing."""

from __future__ import annotations

import pytest

from tests.support import cluster, images, looks, sql
from tests.support.audit import AuditLog
from tests.support.playbooks import Run, deploy, plan_of

from .conftest import PLANNED

pytestmark = pytest.mark.cluster


def test_of_a_new_tenant_equals_what_its_deploy_did(fresh_deployed: Run, recoleta: str) -> None:
    before, after = PLANNED["before"], PLANNED["after"]
    assert not looks.unlike(before, PLANNED["between"]), "the plan wrote something"
    plan, path = plan_of(PLANNED["run"], recoleta)
    assert {item["object"]: item["action"] for item in plan["objects"]} == looks.difference(before["objects"], after["objects"])
    # The database: roles, schema and versions of the tables that the plan names, and nothing else.
    schema = sql.schema_of(recoleta)
    assert plan["database"]["schema"] == schema
    roles = {row[0] for row in after["sql"]["roles"]} - {row[0] for row in before["sql"]["roles"]}
    assert roles == {f"{schema}_owner", f"{schema}_app", f"{schema}_ro"}
    assert all(any(role in change for change in plan["database"]["changes"]) for role in roles)
    assert {row[0] for row in after["sql"]["schemas"]} - {row[0] for row in before["sql"]["schemas"]} == {schema}
    assert f"create schema {schema}" in plan["database"]["changes"]
    heads = {(schema, item["table"], item["to"]) for item in plan["database"]["migrations"]}
    assert heads == set(after["sql"]["heads"]) - set(before["sql"]["heads"])
    # There was nothing to lose.
    assert plan["database"]["backup"] == {}
    # The name.
    assert (plan["dns"]["action"], plan["dns"]["previous"], plan["dns"]["values"]) == ("created", before["record"], after["record"])
    assert plan["revision"] == {"current": None, "planned": "r1"}
    assert plan["route"] == {"from": None, "to": "r1"}
    assert "opening_hours" in plan["settings"]["fields"]
    assert f"  + Deployment tenant-{recoleta}/booking-r1  (workloads)" in (path.parent / "plan.txt").read_text()


def test_of_changes_names_each_and_writes_nothing(palermo: str) -> None:
    before, log = looks.of(palermo), AuditLog()
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text")
    changed = {"quota_overrides": {"pods": "21"}, "business": {"name": "Otra"}, "image_overrides": {"booking": image}}
    run = deploy(palermo, extra={**changed, "plan_only": True})
    assert run.code == 0, run.output
    assert log.writes_of_the_deployer() == []
    assert not looks.unlike(before, looks.of(palermo))
    plan, path = plan_of(run, palermo)
    serving, planned = plan["revision"]["current"], plan["revision"]["planned"]
    actions = {item["object"]: item["action"] for item in plan["objects"]}
    assert actions[f"Deployment tenant-{palermo}/booking-{planned}"] == "created"
    assert actions[f"Deployment tenant-{palermo}/booking-{serving}"] == "deleted"
    assert actions[f"HTTPRoute tenant-{palermo}/main"] == "changed"
    [migration] = plan["database"]["migrations"]
    assert (migration["workload"], migration["from"], migration["to"]) == ("booking", images.head(), images.following())
    assert plan["database"]["changes"] == []
    backup = plan["database"]["backup"]
    assert (backup["certain"], backup["schema"], backup["name"]) == (False, sql.schema_of(palermo), f"TIME-before-{planned}")
    assert "name" in plan["settings"]["fields"]
    assert plan["dns"]["action"] == "unchanged"
    text = (path.parent / "plan.txt").read_text()
    assert "-    pods: '30'\n+    pods: '21'" in text
    assert f"  ~ migrate booking from {images.head()} to {images.following()}" in text
    assert f"  ? backup TIME-before-{planned} of schema {sql.schema_of(palermo)}, to folder {palermo} of volume claim barberpro-data/backups (" in text
    assert (
        f"\n      if the rehearsal of booking ({images.head()} -> {images.following()}), which is left to the run since it writes, "
        "finds a statement that is not known to keep all data\n"
    ) in text
    assert f"Customers: moved from {serving} to {planned}" in text
    assert "Settings: name" in text
    assert all(line in run.output for line in ("Plan of tenant", "Settings: name"))


def test_of_no_changes_says_so_in_check_mode_too(palermo: str) -> None:
    run = deploy(palermo, "--check", extra={"plan_only": True})
    assert run.code == 0, run.output
    plan, _path = plan_of(run, palermo)
    assert (plan["changed"], plan["objects"]) == (False, [])
    assert "Nothing would change; " in run.output
    assert cluster.ask(palermo).status == 200


def test_of_what_would_be_refused_is_refused(palermo: str) -> None:
    before = looks.of(palermo)
    run = deploy(palermo, extra={"plan_only": True, "image_overrides": {"booking": "localhost/does-not-exist:1"}})
    assert run.code != 0
    assert "localhost/does-not-exist:1" in run.words()
    assert not looks.unlike(before, looks.of(palermo))
