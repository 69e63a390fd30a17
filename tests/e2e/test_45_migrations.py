"""Migrations: what breaks the code that serves is refused before anything is touched; what only adds outlives a failed release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, images, logins, sql
from tests.support.audit import AuditLog
from tests.support.customers import Customers
from tests.support.playbooks import Background, Run, deploy, plan_of, play

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
LOST = "e2e-lost"


@pytest.fixture
def migrated(palermo: str) -> Iterator[str]:
    """The demo tenant, whose schema is again what the inventory's images know afterwards."""
    yield palermo
    schema = sql.schema_of(palermo)
    sql.run(f'ALTER TABLE "{schema}".bookings DROP COLUMN IF EXISTS next_note, DROP COLUMN IF EXISTS next_hash')
    sql.run(f"ALTER TABLE \"{schema}\".bookings ADD COLUMN IF NOT EXISTS token_hash bytea DEFAULT ''")
    sql.run(f'ALTER TABLE "{schema}".bookings ALTER COLUMN token_hash SET NOT NULL, ALTER COLUMN token_hash DROP DEFAULT')
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


def left_over(tenant: str) -> dict[str, Any]:
    """Return what the rehearsal of a tenant makes and must remove: a scratch schema and its roles, pods and Secrets."""
    scratch = sql.scratch_of(tenant)
    return {
        "schemas": sql.rows(f"SELECT nspname FROM pg_namespace WHERE nspname = '{scratch}'"),
        "roles": sql.rows(f"SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{scratch}')"),
        "objects": cluster.objects("pods,secrets", "-n", "barberpro-preflight", "-l", f"barberpro.platform/rehearsal={tenant}"),
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
    assert left_over(migrated) == NOTHING
    assert sql.snapshot() == before
    assert cluster.resource_versions(f"tenant-{migrated}") == versions


def test_no_migration_is_tried_for_a_release_that_something_else_stands_against(migrated: str, tmp_path: Path) -> None:
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text")
    before, log = sql.snapshot(), AuditLog()
    run = deploy(migrated, extra={"image_overrides": {"booking": image}, "quota_overrides": {"memory": "100Mi"}})
    assert run.code != 0
    assert [check["check"] for check in run.stage("validation")["checks"] if check["outcome"] == "failed"] == ["capacity", "plan"]
    # Neither lease nor journal nor pod; so no scratch schema either, which the journal would name before it is there.
    assert log.writes_of_the_deployer() == []
    assert (left_over(migrated), sql.snapshot()) == (NOTHING, before)

    first = int(cluster.ask(migrated).headers["x-barberpro-revision"].removeprefix("r"))
    assert deploy(migrated, extra={"image_overrides": {"booking": image}}).code == 0
    before, log = sql.snapshot(), AuditLog()
    with logins.deployer_without("delete", "", "pods", tmp_path / "lesser") as kubeconfig:
        refused = play("rollback_vertical.yml", "--limit", migrated, tenant=migrated, extra={"to_revision": first}, BARBERPRO_KUBECONFIG=kubeconfig)
    assert refused.code != 0
    assert f"may not delete pods in tenant-{migrated}; " in refused.words()
    assert log.writes_of(f"system:serviceaccount:{logins.NAMESPACE}:e2e-lesser-pods-delete") == []
    assert (left_over(migrated), sql.snapshot()) == (NOTHING, before)
    # The inventory's image works with the schema.
    assert deploy(migrated).code == 0


def test_what_a_killed_rehearsal_has_left_goes_with_the_next_run(migrated: str, tmp_path: Path) -> None:
    image = images.booking_with("ALTER TABLE bookings ADD COLUMN next_note text")
    extra = {"image_overrides": {"booking": image}}
    with Background("deploy_vertical.yml", "--limit", migrated, log=tmp_path / "killed.log", extra=extra) as killed:
        killed.wait_for("Try the migrations with the code that serves]")
        killed.kill()
    assert left_over(migrated)["schemas"] != []
    run = deploy(migrated)
    assert run.code == 0, run.output
    assert re.search(r"The run of \S+ \(deploy since [-0-9: ]+ UTC\) was killed in step rehearsal; first undo it\.", run.words())
    assert left_over(migrated) == NOTHING


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
    assert left_over(migrated) == NOTHING
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


def test_a_backup_is_taken_when_nobody_knows_what_a_migration_loses(migrated: str) -> None:
    silent = images.booking_release((("ALTER TABLE bookings ADD COLUMN next_note text",),), silent=True)
    planned = backup_planned(migrated, "--check", "--diff", extra={"image_overrides": {"booking": silent}})
    assert (planned["certain"], planned["why"]) == (
        True,
        "because the migration of booking (nothing -> unknown) cannot be tried, as its image to come does not say which migrations it brings "
        "(label platform.barberpro.migrations), so that nobody knows what it could lose",
    )
    run = deploy(migrated, extra={"image_overrides": {"booking": silent}})
    assert run.code == 0, run.output
    assert backup_taken(run, planned)
    check = next(check for check in run.stage("validation")["checks"] if check["check"] == "migrations")
    assert "booking nothing -> unknown: not tried, its image to come does not say which migrations it brings" in check["evidence"]
    assert (
        "The migration of booking (nothing -> unknown) was not tried, so that nobody knows what it could lose; the schema as it was before is backup "
    ) in run.words()
    # Its migration has run, and an image that says nothing of itself is no reason to refuse the way back; the inventory's image works with the schema.
    assert columns(sql.schema_of(migrated)) == [("next_note",)]
    assert deploy(migrated).code == 0


def test_a_roll_back_to_code_that_does_not_fit_todays_schema_is_refused_and_the_way_back_named(migrated: str) -> None:
    """r1 knows token_hash; r2 brings next_hash and uses that; r3 drops token_hash."""
    schema = sql.schema_of(migrated)
    expand = ("ALTER TABLE bookings ADD COLUMN next_hash bytea", "ALTER TABLE bookings ALTER COLUMN token_hash DROP NOT NULL")
    contract = "ALTER TABLE bookings DROP COLUMN token_hash"
    column = ("token_hash", "next_hash")
    first = int(cluster.ask(migrated).headers["x-barberpro-revision"].removeprefix("r"))
    contracted = f"{int(images.following()) + 1:04}"
    runs, planned = [], {}
    for releases, step in (((expand,), f"{images.head()} -> {images.following()}"), ((expand, (contract,)), f"{images.following()} -> {contracted}")):
        extra = {"image_overrides": {"booking": images.booking_release(releases, column)}}
        planned = backup_planned(migrated, extra={**extra, "plan_only": True})
        assert (planned["certain"], planned["why"]) == (
            False, f"if the rehearsal of booking ({step}), which is left to the run since it writes, finds a statement that is not known to keep all data",
        )
        runs.append(deploy(migrated, extra=extra))
    second, third = runs
    assert (second.code, third.code) == (0, 0), second.output + third.output
    # What the rehearsals have found.
    assert "the schema as it was before is backup" not in second.words()
    backup = backup_taken(third, planned)
    before, versions = sql.snapshot(), written(migrated)
    with served(migrated):
        refused = play("rollback_vertical.yml", "--limit", migrated, tenant=migrated, extra={"to_revision": first})
    assert refused.code != 0
    assert (
        f'r{first} does not work on today\'s schema: since the statement "{contract}" of a later release, query insert_booking of booking fails '
        '(column "token_hash" of relation "bookings" does not exist); deploy forward (deploy_vertical.yml) instead, or return to the schema from before '
        f"that first, which loses the bookings made since: restore_backup.yml -e backup={backup} -e confirm={migrated}"
    ) in refused.words()
    assert [stage["name"] for stage in refused.report["stages"]] == ["validation"]
    assert (left_over(migrated), sql.snapshot(), written(migrated)) == (NOTHING, before, versions)
    # The revision between the two fits both: to it, then to its schema, then to the first.
    between = play("rollback_vertical.yml", "--limit", migrated, tenant=migrated)
    assert between.code == 0, between.output
    works = f"{second.report['revision']} works after 1 statement, tried in a scratch schema"
    assert tried(between.report) == f"booking {images.following()} -> {contracted}: {works}"
    restored = play("restore_backup.yml", "--limit", migrated, extra={"backup": backup, "confirm": migrated})
    assert restored.code == 0, restored.output
    back = play("rollback_vertical.yml", "--limit", migrated, tenant=migrated, extra={"to_revision": first})
    assert back.code == 0, back.output
    assert tried(back.report) == f"booking {images.head()} -> {images.following()}: r{first} works after 2 statements, tried in a scratch schema"
    assert sql.rows(f'SELECT version_num FROM "{schema}".alembic_version_booking') == [(images.following(),)]


def tried(report: dict[str, Any]) -> str:
    """Return what a roll back says of the revision's code and today's schema."""
    stage = next(stage for stage in report["stages"] if stage["name"] == "validation")
    return str(next(check for check in stage["checks"] if check["check"] == "schema_fits")["evidence"])


def test_what_a_killed_backup_has_left_is_removed_with_the_credentials_in_it(migrated: str) -> None:
    name = f"backup-{migrated}"
    cluster.kubectl("create", "secret", "generic", name, "-n", "barberpro-data", "--from-literal=PGPASSWORD=owner")
    assert cluster.objects("secrets", name, "-n", "barberpro-data") != []
    run = play("tests/e2e/undo_backup.yml", "--limit", migrated)
    assert run.code == 0, run.output
    assert cluster.objects("secrets", "-n", "barberpro-data", "--field-selector", f"metadata.name={name}") == []


def backup_planned(tenant: str, *arguments: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Return which backup a dry run plans; on the screen it says the same."""
    run = deploy(tenant, *arguments, extra=extra)
    assert run.code == 0, run.output
    plan, path = plan_of(run, tenant)
    backup: dict[str, Any] = plan["database"]["backup"]
    assert (backup["schema"], backup["folder"], backup["claim"], backup["keep"]) == (sql.schema_of(tenant), tenant, "barberpro-data/backups", 10)
    said = (
        f"{'+' if backup['certain'] else '?'} backup {backup['name']} of schema {backup['schema']}, to folder {tenant} of volume claim "
        "barberpro-data/backups (the newest 10 are kept),"
    )
    assert f"  {said}\n      {backup['why']}\n" in (path.parent / "plan.txt").read_text()
    assert said in run.words()
    assert backup["why"] in run.words()
    return backup


def backup_taken(run: Run, planned: dict[str, Any]) -> str:
    """Return the name of the backup that a run has taken, which its plan knew but for the time."""
    name = run.words().partition("the schema as it was before is backup ")[2].split()[0]
    assert planned["name"] == f"TIME-before-{run.report['revision']}"
    assert re.fullmatch(planned["name"].replace("TIME", "[-0-9TZ]+"), name), name
    return name


def written(tenant: str) -> dict[str, str]:
    """The version of what a playbook writes: pods may still drain."""
    return {name: version for name, version in cluster.resource_versions(f"tenant-{tenant}").items() if not name.startswith("Pod ")}


def columns(schema: str) -> list[tuple[Any, ...]]:
    """Return the column that the next migration adds, if it is there."""
    return sql.rows(f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' AND column_name = 'next_note'")
