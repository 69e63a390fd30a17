"""Migrations: what breaks the code that serves is refused before anything is touched; what only adds outlives a failed release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cluster, images, sql
from tests.support.customers import Customers
from tests.support.playbooks import deploy

pytestmark = pytest.mark.cluster


@pytest.fixture
def migrated(palermo: str) -> Iterator[str]:
    """The demo tenant with customers who must all be served; its schema is again what the inventory's images know afterwards."""
    with Customers(palermo) as customers:
        yield palermo
    customers.assert_served()
    assert len(customers.revisions) == 1, customers.revisions
    schema = sql.schema_of(palermo)
    sql.run(f'ALTER TABLE "{schema}".bookings DROP COLUMN IF EXISTS next_note')
    sql.run(f"UPDATE \"{schema}\".alembic_version_booking SET version_num = '{images.head()}'")


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


def test_after_a_release_that_fails_behind_its_migration_the_old_revision_serves_on(migrated: str) -> None:
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text")
    # The migration succeeds, then a container does not start.
    run = deploy(migrated, extra={"image_overrides": {"booking": image, "walkin_queue": cluster.facts()["images"]["prometheus"]}})
    assert run.code != 0
    assert run.report["result"] == "rolled_back", run.output
    assert run.report["stages"][-1]["name"] == "containers"
    check = next(check for check in run.stage("validation")["checks"] if check["check"] == "migrations")
    assert check["outcome"] == "passed"
    assert f"booking {images.head()} -> {images.following()}" in check["evidence"]
    assert "works after 1 statement, tried in a scratch schema" in check["evidence"]
    schema = sql.schema_of(migrated)
    assert sql.rows(f'SELECT version_num FROM "{schema}".alembic_version_booking') == [(images.following(),)]
    assert sql.rows(f"SELECT 1 FROM information_schema.columns WHERE table_schema = '{schema}' AND column_name = 'next_note'") == [(1,)]
    assert left_over() == NOTHING
    # The old revision on the expanded schema: as good as ever, and a deploy of it changes nothing.
    again = deploy(migrated)
    assert (again.code, again.report["result"]) == (0, "unchanged"), again.output
    assert json.dumps(again.report).count('"outcome": "failed"') == 0
