"""Migrations: as owner, once, side by side with a running service, on schemas older and newer than the image."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import psycopg
import pytest

from barberpro_booking import application as booking_application
from barberpro_service import migrations
from barberpro_service.config import DatabaseSettings, read_database
from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.database import engine_for
from barberpro_service.migrations import check_schema, migrate
from barberpro_service.schema import MigrationError, Migrations
from barberpro_walkin import application as walkin_application
from tests.integration.services import postgres
from tests.integration.services.conftest import PACKAGES, migrate_all
from tests.support.waiting import until

BOOKING = booking_application.MIGRATIONS


async def test_both_services_share_the_schema_and_no_other(bare_tenant):
    await migrate_all(bare_tenant)
    tables = {name for (name,) in bare_tenant.sql("SELECT tablename FROM pg_tables WHERE schemaname = %s", bare_tenant.schema)}
    assert tables == {
        "alembic_version_booking", "alembic_version_walkin", "bookings", "business_settings", "data_keys", "idempotency_keys", "migration_lock",
        "walkin_days", "walkin_tickets",
    }
    assert bare_tenant.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    owners = bare_tenant.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = %s", bare_tenant.schema)
    assert owners == [(f"{bare_tenant.schema}_owner",)]


async def test_again_changes_nothing(bare_tenant):
    settings = read_database(bare_tenant.owner_dir)
    assert await migrate(settings, BOOKING) == (None, BOOKING.head())
    assert await migrate(settings, BOOKING) == (BOOKING.head(), BOOKING.head())


async def test_two_at_once_do_not_race(bare_tenant):
    settings = read_database(bare_tenant.owner_dir)
    results = await asyncio.gather(*(migrate(settings, BOOKING) for _turn in range(3)))
    assert sorted(results, key=str) == [(BOOKING.head(), BOOKING.head())] * 2 + [(None, BOOKING.head())]


async def test_both_services_take_turns(bare_tenant, tmp_path, monkeypatch):
    """Tables of both lie in one schema: while one migrates, the other waits until it has been committed."""
    # Longer than the test takes: nobody gives way before the other is done.
    monkeypatch.setitem(migrations.SESSION, "lock_timeout", "300000")
    settings, server = read_database(bare_tenant.owner_dir), bare_tenant.server
    await migrate(settings, BOOKING)
    slow = with_second(tmp_path / "m", "ALTER TABLE bookings ADD COLUMN note text")
    with psycopg.connect(server.admin) as customer:
        customer.execute(f"LOCK TABLE {bare_tenant.schema}.bookings IN ACCESS SHARE MODE")
        booking = asyncio.create_task(migrate(settings, slow))
        (migrates,) = await asyncio.to_thread(until, lambda: server.waiting_for(customer), "the first to wait for the table")
        walkin = asyncio.create_task(migrate(settings, walkin_application.MIGRATIONS))
        await asyncio.to_thread(until, lambda: server.waiting_for_process(migrates), "the second to wait for the first")
    assert await booking == ("0002", "0003")
    assert await walkin == (None, walkin_application.MIGRATIONS.head())


async def test_a_stuck_migration_is_named(bare_tenant):
    settings = read_database(bare_tenant.owner_dir)
    await migrate(settings, BOOKING)
    with psycopg.connect(**login_of(bare_tenant, "owner")) as stuck:
        stuck.execute(f"LOCK TABLE {bare_tenant.schema}.migration_lock IN EXCLUSIVE MODE")
        with pytest.raises(MigrationError, match=r"another migration holds the lock for more than 0\.2 s; look for a stuck migrate job"):
            await migrate(settings, BOOKING, wait_seconds=0.2)


def login_of(tenant: postgres.Tenant, role: str) -> dict[str, str]:
    """How to log in as one of a tenant's roles."""
    return {key: tenant.read(role, key) for key in ("host", "port", "dbname", "user", "password", "sslmode")}


@pytest.mark.parametrize("role", ["owner", "app", "ro"])
async def test_a_neighbour_cannot_delay_a_migration(bare_tenant, pg, tmp_path, role):
    """What anybody may lock (advisory keys are one space for the whole database) is not asked, and what is asked only the schema's own roles may lock."""
    neighbour = postgres.create_tenant(pg, tmp_path / "neighbour")
    settings = read_database(bare_tenant.owner_dir)
    await migrate(settings, walkin_application.MIGRATIONS)
    key = int.from_bytes(hashlib.sha256(f"barberpro-migrate:{bare_tenant.schema}".encode()).digest()[:8], "big", signed=True)
    with psycopg.connect(**login_of(neighbour, role), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (key,))
        for table in ("migration_lock", "alembic_version_walkin"):
            for mode in ("ACCESS SHARE", "EXCLUSIVE", "ACCESS EXCLUSIVE"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    other.execute(f"BEGIN; LOCK TABLE {bare_tenant.schema}.{table} IN {mode} MODE")
                other.rollback()
        assert await migrate(settings, BOOKING, wait_seconds=0) == (None, BOOKING.head())


async def test_the_app_role_cannot_migrate_and_is_told_so(bare_tenant):
    with pytest.raises(MigrationError, match="migrations run as the schema's owner, mount the owner's Secret"):
        await migrate(read_database(bare_tenant.app_dir), BOOKING)


async def test_a_missing_schema_is_named(bare_tenant):
    settings = read_database(bare_tenant.owner_dir)
    wrong = DatabaseSettings(**{**settings.__dict__, "schema": "t_gone"})
    with pytest.raises(MigrationError, match="schema t_gone does not exist in database barberpro; create it with the tenant's roles first"):
        await migrate(wrong, BOOKING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"port": 1}, "as .*_owner: .*Connection refused; check that the server runs and the address is right"),
        ({"password": "wrong"}, "the server refuses the role or its password; check the mounted Secret"),
        ({"dbname": "nothing"}, "database nothing at 127.0.0.1"),
    ],
)
async def test_an_unreachable_database_is_named(bare_tenant, change, message):
    settings = read_database(bare_tenant.owner_dir)
    with pytest.raises(DatabaseUnavailable, match=message) as caught:
        await migrate(DatabaseSettings(**{**settings.__dict__, **change}), BOOKING)
    assert settings.password not in str(caught.value)


def with_second(folder, body: str) -> Migrations:
    """The booking service's migrations and one more: a newer image."""
    shutil.copytree(BOOKING.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    steps = [f"    op.execute({part!r})" for part in body.split(";")]
    lines = ["from alembic import op", "revision = '0003'", "down_revision = '0002'", "def upgrade():", *steps]
    (folder / "versions" / "0003_more.py").write_text("\n".join(lines) + "\n")
    return Migrations(folder, BOOKING.version_table)


async def test_a_failed_migration_leaves_nothing_behind(tenant, tmp_path):
    broken = with_second(tmp_path / "m", "CREATE TABLE extra (id int);SELECT nonsense")
    with pytest.raises(MigrationError, match=r'migration failed and was undone: .*column "nonsense" does not exist'):
        await migrate(read_database(tenant.owner_dir), broken)
    assert tenant.sql("SELECT to_regclass('extra'), version_num FROM alembic_version_booking") == [(None, "0002")]


async def test_a_table_in_use_is_waited_for_without_blocking_customers(tenant, tmp_path, monkeypatch):
    monkeypatch.setitem(migrations.SESSION, "lock_timeout", "200")
    newer = with_second(tmp_path / "m", "ALTER TABLE bookings ADD COLUMN note text")
    held = psycopg.connect(tenant.server.admin, options=f"-c search_path={tenant.schema}")
    held.execute("LOCK TABLE bookings IN ACCESS SHARE MODE")
    given_up = []

    def warning(event: str, **said: object) -> None:
        # Whoever comes meanwhile is served: nobody waits in front of him.
        assert tenant.server.waiting_for(held) == []
        given_up.append((event, said["attempt"]))
        if len(given_up) == 2:
            held.close()

    monkeypatch.setattr(migrations, "LOG", SimpleNamespace(warning=warning, info=migrations.LOG.info))
    assert await migrate(read_database(tenant.owner_dir), newer) == ("0002", "0003")
    assert given_up == [("a table is in use, trying again", attempt) for attempt in (1, 2)]


async def test_an_older_image_is_ready_on_a_newer_schema_and_its_job_does_nothing(tenant, tmp_path):
    newer = with_second(tmp_path / "m", "ALTER TABLE bookings ADD COLUMN note text")
    engine = engine_for(tenant.app_dir, "old")
    with pytest.raises(MigrationError, match="schema is at 0002, this image needs 0003; run the migrate job of this revision"):
        await check_schema(engine, newer)
    await migrate(read_database(tenant.owner_dir), newer)
    assert await check_schema(engine, BOOKING) == "schema at 0003, needed 0002"
    assert await migrate(read_database(tenant.owner_dir), BOOKING) == ("0003", "0003")
    await engine.dispose()


async def test_an_unmigrated_schema_is_not_ready(bare_tenant):
    engine = engine_for(bare_tenant.app_dir, "new")
    with pytest.raises(MigrationError, match="schema is at nothing"):
        await check_schema(engine, walkin_application.MIGRATIONS)
    await engine.dispose()


@pytest.mark.parametrize("migrations", [BOOKING, walkin_application.MIGRATIONS])
def test_revision_ids_are_increasing_numbers(migrations):
    names = sorted(path.name for path in (migrations.folder / "versions").glob("[0-9]*.py"))
    assert [name[:5] for name in names] == [f"{number:04}_" for number in range(1, len(names) + 1)]
    assert migrations.head() == f"{len(names):04}"


def run(module: str, tenant: postgres.Tenant, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES, "BARBERPRO_TENANT": "palermo",
        "BARBERPRO_DATABASE_DIR": str(tenant.app_dir), "BARBERPRO_DATABASE_OWNER_DIR": str(tenant.owner_dir), **more,
    }
    return subprocess.run([sys.executable, "-m", module, "migrate"], env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_the_job_as_its_container_runs_it(bare_tenant):
    result = run("barberpro_booking", bare_tenant)
    assert (result.returncode, result.stderr) == (0, "")
    assert '"event": "migrated"' in result.stdout
    failed = run("barberpro_walkin", bare_tenant, BARBERPRO_DATABASE_OWNER_DIR="/nowhere")
    assert failed.returncode == 1
    assert failed.stderr.startswith("walkin migrate: schema t_")
    assert "mount the owner's Secret" in failed.stderr
