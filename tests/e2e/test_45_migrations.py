"""Migrations: what breaks the code that serves is refused before anything is touched; what only adds outlives a failed release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, images, sql
from tests.support.customers import Customers
from tests.support.playbooks import Background, deploy, play

pytestmark = pytest.mark.cluster
LOST = "e2e-lost"


@pytest.fixture
def migrated(palermo: str) -> Iterator[str]:
    """The demo tenant, whose schema is again what the inventory's images know afterwards."""
    yield palermo
    schema = sql.schema_of(palermo)
    sql.run(f'ALTER TABLE "{schema}".bookings DROP COLUMN IF EXISTS next_note')
    sql.run(f"UPDATE \"{schema}\".alembic_version_booking SET version_num = '{images.head()}'")
    sql.run(f"DELETE FROM \"{schema}\".bookings WHERE test_run = '{LOST}'")


@contextmanager
def served(tenant: str) -> Iterator[None]:
    """Customers look at the page and at the free slots meanwhile, and all are served, by one revision."""
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    with Customers(tenant) as looking, Customers(tenant, f"/api/v1/availability?service=corte&date={day}") as choosing:
        yield
    for customers in (looking, choosing):
        customers.assert_served()
        assert len(customers.revisions) == 1, customers.revisions


def left_over() -> dict[str, Any]:
    """Return what a rehearsal makes and must remove: scratch schemas and roles, pods and Secrets."""
    return {
        "schemas": sql.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'x!_%' ESCAPE '!'"),
        "roles": sql.rows("SELECT rolname FROM pg_roles WHERE rolname LIKE 'x!_%' ESCAPE '!'"),
        "objects": cluster.objects("pods,secrets", "-n", "barberpro-preflight", "-l", "barberpro.platform/rehearsal"),
    }


NOTHING: dict[str, Any] = {"schemas": [], "roles": [], "objects": []}


def test_a_renamed_column_is_refused_and_the_statement_named(migrated: str) -> None:
    before, versions = sql.snapshot(), cluster.resource_versions(f"tenant-{migrated}")
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text", "ALTER TABLE bookings RENAME COLUMN staff_name TO barber")
    with served(migrated):
        run = deploy(migrated, extra={"image_overrides": {"booking": image}})
    assert run.code != 0
    assert run.report["result"] == "failed"
    assert [stage["name"] for stage in run.report["stages"]] == ["validation"]
    assert (
        'the statement "ALTER TABLE bookings RENAME COLUMN staff_name TO barber" breaks revision '
    ) in run.words()
    assert (
        'which serves meanwhile: query insert_booking of booking fails (column "staff_name" of relation "bookings" does not exist); '
        "expand now (add what is new, keep what is old) and contract in a later release"
    ) in run.words()
    assert left_over() == NOTHING
    assert sql.snapshot() == before
    assert cluster.resource_versions(f"tenant-{migrated}") == versions


def test_what_a_killed_rehearsal_has_left_goes_with_the_next_run(migrated: str, tmp_path: Path) -> None:
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text")
    extra = {"image_overrides": {"booking": image}}
    with Background("deploy_vertical.yml", "--limit", migrated, log=tmp_path / "killed.log", extra=extra) as killed:
        killed.wait_for("Try the migrations with the code that serves]")
        killed.kill()
    assert left_over()["schemas"] != []
    run = deploy(migrated)
    assert run.code == 0, run.output
    assert re.search(r"The run of \S+ \(deploy since [-0-9: ]+ UTC\) was killed in step rehearsal; first undo it\.", run.words())
    assert left_over() == NOTHING


def test_after_a_release_that_fails_behind_its_migration_the_old_revision_serves_on_and_a_backup_is_there(migrated: str) -> None:
    schema = sql.schema_of(migrated)
    sql.run(
        f"INSERT INTO \"{schema}\".bookings (id, service_id, service_name, price, staff_id, staff_name, starts_at, ends_at, token_hash, test_run) "
        f"VALUES (gen_random_uuid(), 'corte', 'Corte', 1, '{LOST}', '{LOST}', now(), now() + interval '1 hour', ''::bytea, '{LOST}')"
    )
    losing = f"DELETE FROM bookings WHERE test_run = '{LOST}'"
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text", losing)
    # The migration succeeds, then a container does not start.
    with served(migrated):
        run = deploy(migrated, extra={"image_overrides": {"booking": image, "walkin_queue": cluster.facts()["images"]["prometheus"]}})
    assert run.code != 0
    assert run.report["result"] == "rolled_back", run.output
    assert run.report["stages"][-1]["name"] == "containers"
    check = next(check for check in run.stage("validation")["checks"] if check["check"] == "migrations")
    assert check["outcome"] == "passed"
    assert f"booking {images.head()} -> {images.following()}" in check["evidence"]
    assert f"works after 2 statements, tried in a scratch schema; 1 statement could lose data ({losing})" in check["evidence"]
    assert sql.rows(f'SELECT version_num FROM "{schema}".alembic_version_booking') == [(images.following(),)]
    assert columns(schema) == [("next_note",)]
    assert left_over() == NOTHING
    lost = f"SELECT count(*) FROM \"{schema}\".bookings WHERE test_run = '{LOST}'"
    assert sql.rows(lost) == [(0,)]

    backup = run.words().partition("the schema as it was before is backup ")[2].split()[0]
    kept = [f"{sql.rows(lost)} {sql.schema_of(migrated)}", written(migrated)]
    refused = play("restore_backup.yml", "--limit", migrated, extra={"backup": backup})
    assert refused.code != 0
    assert f"Repeat the name of the tenant: -e confirm={migrated}. Nothing was changed." in refused.words()
    unknown = play("restore_backup.yml", "--limit", migrated, extra={"backup": "no-such", "confirm": migrated})
    assert unknown.code != 0
    assert f"tenant {migrated} has no backup no-such; choose one of these: " in unknown.words()
    assert backup in unknown.words()
    assert [f"{sql.rows(lost)} {sql.schema_of(migrated)}", written(migrated)] == kept
    restored = play("restore_backup.yml", "--limit", migrated, extra={"backup": backup, "confirm": migrated})
    assert restored.code == 0, restored.output
    assert sql.rows(lost) == [(1,)]
    assert columns(schema) == []
    assert sql.rows(f'SELECT version_num FROM "{schema}".alembic_version_booking') == [(images.head(),)]
    # The services go on with it, as the roles that they always had.
    again = deploy(migrated)
    assert (again.code, again.report["result"]) == (0, "unchanged"), again.output


def written(tenant: str) -> dict[str, str]:
    """The resourceVersion of what a playbook writes: pods that still drain, and the quota that counts them, go on changing by themselves."""
    found = cluster.resource_versions(f"tenant-{tenant}")
    return {name: version for name, version in found.items() if not name.startswith(("Pod/", "ResourceQuota/"))}


def columns(schema: str) -> list[tuple[Any, ...]]:
    """Return the column that the next migration adds, if it is there."""
    return sql.rows(f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' AND column_name = 'next_note'")
