"""Bring the tenant's schema to this image's revision with Alembic: as owner, one at a time, never blocking customers.

Rules that the migrations of every service keep, because old and new revisions of a service run side by side:
revision ids are increasing four-digit numbers, and a migration only adds (columns with defaults, tables, indexes);
what an older revision uses goes away a release later.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from barberpro_service.config import DatabaseSettings
from barberpro_service.connection import sqlstate_of
from barberpro_service.database import engine_from
from barberpro_service.logs import logger
from barberpro_service.schema import MigrationError, Migrations, behind

LOG = logger(__name__)

# A migration waits this long for a table's lock, then steps back so that requests behind it go on, and tries again.
SESSION = {"lock_timeout": "3000", "statement_timeout": "300000", "idle_in_transaction_session_timeout": "60000"}
LOCK_NOT_AVAILABLE = "55P03"
INSUFFICIENT_PRIVILEGE = "42501"
# Who finds no table and makes one while another does the same is told so by an index, by its name or by that of its row type.
MADE_MEANWHILE = ("23505", "42P07", "42710")
LOCK = "migration_lock"


def _upgrade(connection: Connection, migrations: Migrations) -> None:
    # Imported here: a service that only serves starts a fifth faster without, which a pod of 0.2 CPU feels.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = migrations.version_table
    command.upgrade(config, "head")


async def current(connection: AsyncConnection, migrations: Migrations) -> str | None:
    """The revision that the schema is at; None when it was never migrated."""
    exists = await connection.scalar(text("SELECT to_regclass(quote_ident(:name))"), {"name": migrations.version_table})
    if exists is None:
        return None
    version: str | None = await connection.scalar(text(f'SELECT version_num FROM "{migrations.version_table}"'))
    return version


async def check_schema(engine: AsyncEngine, migrations: Migrations) -> str:
    """Readiness check: the database answers and the schema is at least at this image's head.

    Raises MigrationError when it is behind, DatabaseUnavailable when it cannot be asked.
    """
    head = migrations.head()
    async with engine.connect() as connection:
        found = await current(connection, migrations)
    if behind(found, head):
        raise MigrationError(f"schema is at {found or 'nothing'}, this image needs {head}; run the migrate job of this revision")
    return f"schema at {found}, needed {head}"


async def _make_lock(connection: AsyncConnection, schema: str) -> None:
    """Make the table that stands for the right to migrate this schema, where it is missing."""
    if await connection.scalar(text("SELECT to_regclass(:name)"), {"name": f'"{schema}".{LOCK}'}) is None:
        try:
            await connection.execute(text(f'CREATE TABLE IF NOT EXISTS "{schema}".{LOCK} ()'))
        except DBAPIError as error:
            if sqlstate_of(error) not in MADE_MEANWHILE:
                raise
            await connection.rollback()
    await connection.commit()


async def _exclusive(connection: AsyncConnection, schema: str, deadline: float, seconds: float) -> None:
    """Begin the transaction that migrates by locking the schema's own table: two migrate jobs must not race.

    The lock ends with the transaction. It is none of the advisory ones, whose keys every role of the database may hold: names of schemas
    can be read by all, so a neighbour could keep this tenant from ever deploying. A table is locked by those with rights on it alone.
    """
    while True:
        patience = max(1, min(int(SESSION["lock_timeout"]), int((deadline - time.monotonic()) * 1000)))
        try:
            await connection.execute(text(f"SET LOCAL lock_timeout = {patience}"))
            # Readers go on: backups and exports read every table.
            await connection.execute(text(f'LOCK TABLE "{schema}".{LOCK} IN EXCLUSIVE MODE'))
            await connection.execute(text(f"SET LOCAL lock_timeout = {SESSION['lock_timeout']}"))
            return
        except DBAPIError as error:
            await connection.rollback()
            if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
                raise
        if time.monotonic() > deadline:
            raise MigrationError(
                f"schema {schema}: another migration holds the lock for more than {seconds:g} s; look for a stuck migrate job"
            )
        LOG.info("another migration is running, waiting", schema=schema)


async def _migrate_once(connection: AsyncConnection, migrations: Migrations) -> tuple[str | None, str]:
    head = migrations.head()
    found = await current(connection, migrations)
    if not behind(found, head):
        # Equal, or a newer image has been here (a rollback brings older images up on a newer schema): nothing to do.
        return found, found or head
    await connection.run_sync(_upgrade, migrations)
    await connection.commit()
    return found, head


async def _with_retries(
    connection: AsyncConnection, schema: str, migrations: Migrations, wait_seconds: float, attempts: int
) -> tuple[str | None, str]:
    deadline = time.monotonic() + wait_seconds
    for attempt in range(1, attempts + 1):
        try:
            await _make_lock(connection, schema)
            await _exclusive(connection, schema, deadline, wait_seconds)
            return await _migrate_once(connection, migrations)
        except DBAPIError as error:
            await connection.rollback()
            if sqlstate_of(error) == INSUFFICIENT_PRIVILEGE:
                raise MigrationError(
                    f"schema {schema}: {error.orig}; migrations run as the schema's owner, mount the owner's Secret"
                ) from error
            if sqlstate_of(error) != LOCK_NOT_AVAILABLE or attempt == attempts:
                raise MigrationError(f"schema {schema}: migration failed and was undone: {error.orig}") from error
            LOG.warning("a table is in use, trying again", schema=schema, attempt=attempt)
            await asyncio.sleep(attempt)
    raise AssertionError("unreachable")


async def migrate(
    settings: DatabaseSettings, migrations: Migrations, wait_seconds: float = 120, attempts: int = 10
) -> tuple[str | None, str]:
    """Migrate to the head of this image; returns (revision before, revision after), equal when there was nothing to do.

    `wait_seconds` bounds the wait for another migration, `attempts` the tries for a table lock. Raises MigrationError
    or DatabaseUnavailable; what failed has been rolled back as a whole.
    """
    engine = engine_from(lambda: settings, "barberpro-migrate", pool_size=1, pool_overflow=0, session=SESSION)
    try:
        async with engine.connect() as connection:
            exists = await connection.scalar(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": settings.schema})
            if not exists:
                raise MigrationError(
                    f"schema {settings.schema} does not exist in database {settings.dbname}; create it with the tenant's roles first"
                )
            before, after = await _with_retries(connection, settings.schema, migrations, wait_seconds, attempts)
            await connection.commit()
        return before, after
    finally:
        await engine.dispose()

