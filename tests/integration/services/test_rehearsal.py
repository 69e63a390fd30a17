"""Old code against a newer schema: which statement of a migration breaks it, and that nothing of the rehearsal is left."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barberpro_booking import rehearse as booking
from barberpro_booking import repository as booking_repository
from barberpro_service.config import read_database
from barberpro_service.personal.data_keys import KeyTable
from barberpro_service.personal.fields import Personal
from barberpro_service.rehearsal import Rehearsal, RehearsalError, capture, check, prepare
from barberpro_service.schema import MigrationError, Migrations
from barberpro_walkin import rehearse as walkin
from barberpro_walkin import repository as walkin_repository
from tests.integration.services import postgres
from tests.integration.services.conftest import PACKAGES


@pytest.fixture
def scratch(bare_tenant: postgres.Tenant) -> postgres.Tenant:
    """An empty schema whose owner may act for the role that serves."""
    bare_tenant.sql(f"GRANT {bare_tenant.schema}_app TO {bare_tenant.schema}_owner")
    return bare_tenant


def newer(folder: Path, body: str, old: Rehearsal = booking.REHEARSAL) -> Rehearsal:
    """The service with one more migration."""
    shutil.copytree(old.migrations.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    head = old.migrations.head()
    following = f"{int(head) + 1:04}"
    lines = ["import sqlalchemy as sa", "from alembic import op", f"revision = '{following}'", f"down_revision = '{head}'", "def upgrade():"]
    (folder / "versions" / f"{following}_more.py").write_text("\n".join([*lines, *(f"    {line}" for line in body.splitlines())]) + "\n")
    return replace(old, migrations=Migrations(folder, old.migrations.version_table))


def footprint(tenant: postgres.Tenant) -> list[tuple[Any, ...]]:
    columns = tenant.sql(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, 2", tenant.schema
    )
    return columns + tenant.sql("SELECT count(*) FROM bookings") + tenant.sql("SELECT version_num FROM alembic_version_booking")


async def rehearsed(scratch: postgres.Tenant, folder: Path, body: str, old: Rehearsal = booking.REHEARSAL) -> dict[str, Any]:
    settings, role = read_database(scratch.owner_dir), f"{scratch.schema}_app"
    await prepare(booking.REHEARSAL, settings, role)
    if old is not booking.REHEARSAL:
        await prepare(old, settings, role)
    before = footprint(scratch)
    statements = json.loads(json.dumps(await capture(newer(folder, body, old), settings)))
    result = await check(old, settings, role, statements)
    assert footprint(scratch) == before
    return result | {"sql": [statement["sql"] for statement in statements]}


async def test_a_new_nullable_column_leaves_the_old_code_working(scratch, tmp_path):
    result = await rehearsed(scratch, tmp_path / "m", 'op.execute("ALTER TABLE bookings ADD COLUMN note text")')
    assert result == {"statements": 1, "broken": None, "sql": ["ALTER TABLE bookings ADD COLUMN note text"]}


async def test_a_renamed_column_is_named_with_its_statement_and_the_query(scratch, tmp_path):
    body = 'op.add_column("bookings", sa.Column("note", sa.Text()))\nop.alter_column("bookings", "staff_name", new_column_name="barber")'
    result = await rehearsed(scratch, tmp_path / "m", body + '\nop.execute("CREATE TABLE more (id int)")')
    assert result["statements"] == 3
    assert result["broken"] == {
        "statement": "ALTER TABLE bookings RENAME staff_name TO barber", "number": 1, "query": "insert_booking",
        "reason": 'column "staff_name" of relation "bookings" does not exist',
    }


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        ('op.drop_column("bookings", "test_run")', "insert_booking", 'column "test_run" of relation "bookings" does not exist'),
        ('op.execute("DROP TABLE idempotency_keys")', "claim_key", 'relation "idempotency_keys" does not exist'),
        (
            "op.execute(\"ALTER TABLE bookings ADD COLUMN origin text NOT NULL DEFAULT 'web'\")\n"
            'op.execute("ALTER TABLE bookings ALTER COLUMN origin DROP DEFAULT")',
            "insert_booking", 'null value in column "origin" of relation "bookings" violates not-null constraint',
        ),
        (
            "op.execute(\"ALTER TABLE bookings ADD CONSTRAINT narrow CHECK (status = 'confirmed')\")", "cancel_booking",
            'new row for relation "bookings" violates check constraint "narrow"',
        ),
        ('op.execute("REVOKE ALL ON bookings FROM " + op.get_bind().engine.url.query.get("role", "CURRENT_USER"))', None, None),
    ],
)
async def test_what_breaks_the_old_code(scratch, tmp_path, body, query, reason):
    broken = (await rehearsed(scratch, tmp_path / "m", body))["broken"]
    assert (broken and broken["query"], broken and broken["reason"]) == (query, reason)


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("bookings (staff_id)", "insert_booking"),
        ("bookings (service_id)", "insert_booking"),
        ("bookings (customer_phone)", "insert_booking"),
        ("bookings (starts_at)", "insert_booking"),
        ("bookings (staff_id, starts_at)", "insert_booking"),
        ("bookings (staff_id) WHERE status = 'confirmed' AND test_run IS NULL", "insert_booking"),
        ("bookings (id, token_hash)", None),
        ("bookings (token_hash)", None),
        ("idempotency_keys (request_hash)", "claim_key"),
        ("idempotency_keys (status)", "settle_key"),
    ],
)
async def test_a_unique_index_on_what_the_old_code_repeats_breaks_it(scratch, tmp_path, index, query):
    """The rows of the scratch schema have no repetition, so the index itself can be built."""
    result = await rehearsed(scratch, tmp_path / "m", f'op.execute("CREATE UNIQUE INDEX once ON {index}")')
    broken = result["broken"]
    assert (broken and broken["query"]) == query
    assert broken is None or broken["statement"] == f"CREATE UNIQUE INDEX once ON {index}"


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("walkin_tickets (day)", "insert_ticket"), ("walkin_tickets (number)", "insert_ticket"), ("walkin_tickets (customer_name)", "insert_ticket"),
        ("walkin_tickets (request_hash)", "insert_ticket"), ("walkin_tickets (day, number)", None),
    ],
)
async def test_a_unique_index_on_what_the_queue_repeats_breaks_it(scratch, tmp_path, index, query):
    result = await rehearsed(scratch, tmp_path / "m", f'op.execute("CREATE UNIQUE INDEX once ON {index}")', walkin.REHEARSAL)
    assert (result["broken"] and result["broken"]["query"]) == query


async def test_what_a_migration_selects_is_among_its_statements_since_a_function_may_write(scratch, tmp_path):
    body = (
        'op.execute("CREATE FUNCTION tidy() RETURNS int LANGUAGE sql AS \'UPDATE bookings SET price = 2; SELECT 1\'")\n'
        'op.execute("SELECT tidy()")\n'
        'op.get_bind().execute(sa.text("SELECT id FROM bookings WHERE staff_id = ANY(:who)"), {"who": ["a", "b"]})'
    )
    result = await rehearsed(scratch, tmp_path / "m", body)
    assert [sql.split()[0] for sql in result["sql"]] == ["CREATE", "SELECT", "SELECT"]
    assert (result["sql"][1], result["broken"]) == ("SELECT tidy()", None)


async def test_what_breaks_only_in_between_is_no_harm_since_a_migration_is_one_transaction(scratch, tmp_path):
    body = 'op.alter_column("bookings", "staff_name", new_column_name="barber")\nop.alter_column("bookings", "barber", new_column_name="staff_name")'
    assert (await rehearsed(scratch, tmp_path / "m", body))["broken"] is None


async def test_a_migration_with_values_is_repeated_with_them(scratch, tmp_path):
    body = (
        'op.execute("ALTER TABLE bookings ADD COLUMN note text")\nimport datetime, decimal, uuid\n'
        'op.get_bind().execute(sa.text("UPDATE bookings SET note = :note, price = :price WHERE starts_at < :at AND id <> :id"), '
        '{"note": "n", "price": decimal.Decimal(2), "at": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC), "id": uuid.UUID(int=9)})'
    )
    result = await rehearsed(scratch, tmp_path / "m", body)
    assert (result["statements"], result["broken"]) == (2, None)


async def test_a_migration_that_fails_on_rows_is_named(scratch, tmp_path):
    with pytest.raises(MigrationError) as caught:
        await rehearsed(scratch, tmp_path / "m", 'op.execute("ALTER TABLE bookings ADD COLUMN origin text NOT NULL")')
    assert str(caught.value) == (
        f"ALTER TABLE bookings ADD COLUMN origin text NOT NULL fails on a schema at {booking.MIGRATIONS.head()} that holds rows: "
        'column "origin" of relation "bookings" contains null values'
    )


async def test_a_value_that_cannot_be_repeated_is_refused(scratch, tmp_path):
    body = 'op.get_bind().execute(sa.text("UPDATE bookings SET created_at = now() - CAST(:ago AS interval)"), {"ago": __import__("datetime").timedelta(1)})'
    with pytest.raises(RehearsalError, match="a statement with a timedelta, which cannot be rehearsed; use plain values"):
        await rehearsed(scratch, tmp_path / "m", body)


async def test_the_queue_has_a_rehearsal_of_its_own(scratch, tmp_path):
    body = 'op.alter_column("walkin_tickets", "number", new_column_name="turn")'
    broken = (await rehearsed(scratch, tmp_path / "m", body, walkin.REHEARSAL))["broken"]
    assert (broken["query"], broken["statement"]) == ("insert_ticket", "ALTER TABLE walkin_tickets RENAME number TO turn")


@pytest.mark.parametrize(("module", "repository"), [(booking, booking_repository), (walkin, walkin_repository)], ids=["booking", "walkin"])
async def test_every_query_of_the_service_is_among_them(scratch, module, repository, monkeypatch):
    asked = set()

    def watched(name: str, function: Any) -> Any:
        async def call(*values: Any, **named: Any) -> Any:
            asked.add(name)
            return await function(*values, **named)

        return call

    every = {name for name, function in inspect.getmembers(repository, inspect.iscoroutinefunction) if function.__module__ == repository.__name__}
    for name in every:
        monkeypatch.setattr(repository, name, watched(name, getattr(repository, name)))
    # These open their connections themselves; `exported` and `making` are no coroutines: one reads what `status` does and more, the other fills its table.
    for owner, names in ((KeyTable, ("all", "made", "replace")), (Personal, ("_seal_batch", "_forget_batch", "status", "opened"))):
        for name in names:
            monkeypatch.setattr(owner, name, watched(name, getattr(owner, name)))
        every |= set(names)
    await prepare(module.REHEARSAL, read_database(scratch.owner_dir), f"{scratch.schema}_app")
    assert asked == every
    tables = [scratch.sql(f'SELECT count(*) FROM "{table}"') for table in module.REHEARSAL.metadata.tables]
    assert tables == [[(1,)]] * len(tables)


def test_as_its_container_runs_it(scratch, tmp_path):
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "barberpro_booking.rehearse", *arguments, "--role", f"{scratch.schema}_app"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["rehearsal"]
        return done.returncode, result

    database, head = ("--database", str(scratch.owner_dir)), booking.MIGRATIONS.head()
    assert run("prepare", *database) == (0, {"service": "booking", "command": "prepare", "head": head})
    path = tmp_path / "booking.json"
    assert run("capture", str(path), *database) == (0, {"service": "booking", "command": "capture", "head": head, "statements": []})
    assert run("check", str(path), *database) == (0, {"service": "booking", "command": "check", "statements": 0, "broken": None})
    code, result = run("check", str(path), "--database", "/nowhere")
    assert code == 1
    assert result["error"].startswith("database settings: file /nowhere/port is missing")
