"""Try a newer image's migrations against this code, in a schema that is made for it and dropped afterwards.

Three calls, each in a container of its own, share a folder:
`prepare` (old image) migrates an empty schema to what this image knows and puts a row into every table;
`capture` (new image) runs its migrations there, notes each statement, and takes all of it back;
`check` (old image) repeats the statements one by one and after each runs every query of the service, as the role that serves.
A migration is one transaction, so only the state after its last statement counts; the ones before tell which statement it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Connection, MetaData, Table, event, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from barberpro_service.config import ConfigError, DatabaseSettings, read_database
from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.database import engine_from
from barberpro_service.migrations import SESSION, _upgrade, current, migrate
from barberpro_service.schema import MigrationError, Migrations

Statement = dict[str, Any]
Queries = Callable[[AsyncConnection], Awaitable[None]]
DATABASE = Path("/etc/barberpro/database")


class RehearsalError(Exception):
    """The rehearsal itself cannot be done; the message is one sentence."""


class Unexpected(Exception):
    """A query of the service did not fail, but its answer is another than on the schema of its own image."""

    def __init__(self, query: str, reason: str) -> None:
        super().__init__(f"{query}: {reason}")
        self.query, self.reason = query, reason


def expect(holds: bool, query: str, reason: str) -> None:
    """Raise Unexpected unless it `holds`: what the code takes as a refusal is no error of the database, and would go unnoticed."""
    if not holds:
        raise Unexpected(query, reason)


@dataclass(frozen=True)
class Rehearsal:
    """One service: its migrations, its tables, values that its constraints want (by table and column), and its queries."""

    service: str
    migrations: Migrations
    metadata: MetaData
    samples: Mapping[str, Mapping[str, Any]]
    queries: Queries = field(repr=False)

    def row(self, table: Table) -> dict[str, Any]:
        """A row that fills every column of a table."""
        given = self.samples.get(table.name, {})
        return {column.name: given.get(column.name, _sample(column)) for column in table.columns}


def _sample(column: Column[Any]) -> Any:
    """A value of a column's type."""
    if isinstance(column.type, JSON):
        return {"rehearsal": True}
    kind = column.type.python_type
    samples: dict[type, Any] = {
        str: "rehearsal", int: 1, bool: False, float: 1.0, bytes: b"rehearsal", Decimal: Decimal(1),
        uuid.UUID: uuid.UUID(int=1), date: date(2026, 1, 1), datetime: datetime(2026, 1, 1, tzinfo=UTC),
    }
    return samples[kind]


class OneConnection:
    """Stands in for an engine where code opens connections itself: all of it happens on one, and is taken back with it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """The connection."""
        yield self.connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """The connection, in a transaction inside of the one that is open."""
        async with self.connection.begin_nested():
            yield self.connection


def _engine(settings: DatabaseSettings) -> AsyncEngine:
    return engine_from(lambda: settings, "barberpro-rehearsal", pool_size=1, pool_overflow=0, session=SESSION)


async def prepare(rehearsal: Rehearsal, settings: DatabaseSettings, role: str) -> dict[str, Any]:
    """Migrate the schema, check that this code works on it, and leave a row in every table."""
    await migrate(settings, rehearsal.migrations)
    engine = _engine(settings)
    try:
        async with engine.connect() as connection:
            broken = await _ask(rehearsal, connection, role)
            if broken:
                raise RehearsalError(f"the query {broken['query']} fails on a schema of its own image: {broken['reason']}; the image is broken")
            for table in rehearsal.metadata.sorted_tables:
                # A table that services share may have it from another's rehearsal.
                await connection.execute(insert(table).values(**rehearsal.row(table)).on_conflict_do_nothing())
            await connection.commit()
    finally:
        await engine.dispose()
    return {"head": rehearsal.migrations.head()}


async def capture(rehearsal: Rehearsal, settings: DatabaseSettings) -> list[Statement]:
    """Run this image's migrations, take them back, and return what they execute, in order.

    Raises MigrationError that names the statement which fails on a schema that holds rows.
    """
    statements: list[Statement] = []
    engine = _engine(settings)

    def note(_conn: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        rows = list(parameters) if executemany else [parameters]
        if statement.strip() and not _own(statement, rows, rehearsal.migrations.version_table):
            statements.append({"sql": statement.strip(), "rows": [[_written(value) for value in row or ()] for row in rows]})

    try:
        async with engine.connect() as connection:
            before = await current(connection, rehearsal.migrations)
            event.listen(engine.sync_engine, "before_cursor_execute", note)
            try:
                await connection.run_sync(_upgrade, rehearsal.migrations)
            except DBAPIError as error:
                last = _short(statements[-1]["sql"]) if statements else "the first statement"
                raise MigrationError(f"{last} fails on a schema at {before or 'nothing'} that holds rows: {_reason(error)}") from error
            finally:
                event.remove(engine.sync_engine, "before_cursor_execute", note)
                await connection.rollback()
    finally:
        await engine.dispose()
    return statements


def _own(statement: str, rows: Sequence[Any], version_table: str) -> bool:
    """Whether Alembic asks this for itself. A migration's own SELECT counts: it may call a function that writes."""
    words = statement.split(maxsplit=1)
    asked = words[0].upper()
    return asked == "SHOW" or version_table in statement or (asked == "SELECT" and any(version_table in (row or ()) for row in rows))


async def check(rehearsal: Rehearsal, settings: DatabaseSettings, role: str, statements: Sequence[Statement]) -> dict[str, Any]:
    """Repeat the statements, run every query of this service after each, and take all of it back.

    Returns `broken`: None when this code works on the schema after the last one; else the first statement from which on it
    does not (`statement`), the `query` that fails and the `reason`.
    """
    broken: dict[str, Any] | None = None
    engine = _engine(settings)
    try:
        async with engine.connect() as connection:
            for number, statement in enumerate(statements):
                # Nobody else is in this schema, and a transaction that is taken back can build no index side by side.
                sql = statement["sql"].replace(" CONCURRENTLY", "").replace(" concurrently", "")
                for row in statement["rows"] or [[]]:
                    await connection.exec_driver_sql(sql, tuple(_read(value) for value in row))
                failed = await _ask(rehearsal, connection, role)
                if failed is None:
                    broken = None
                elif broken is None:
                    broken = {**failed, "statement": statement["sql"], "number": number}
            await connection.rollback()
    finally:
        await engine.dispose()
    return {"statements": len(statements), "broken": broken}


async def _ask(rehearsal: Rehearsal, connection: AsyncConnection, role: str) -> dict[str, str] | None:
    """Run every query as the role that serves and take back what they did; the first that fails, None when none does."""
    inner = await connection.begin_nested()
    try:
        await connection.execute(text(f'SET LOCAL ROLE "{role}"'))
        await rehearsal.queries(connection)
    except Unexpected as error:
        return {"query": error.query, "reason": error.reason}
    except SQLAlchemyError as error:
        # Not only what the database refuses: a row that the code counts on and does not find is an error of SQLAlchemy's own.
        return {"query": _query_of(error), "reason": _reason(error)}
    finally:
        await inner.rollback()
    return None


def _query_of(error: BaseException) -> str:
    """The function of the service in which an error came up."""
    found, trace = "unknown", error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("barberpro_") and not module.startswith("barberpro_service") and not module.endswith("rehearse"):
            found = trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    return found


def _reason(error: SQLAlchemyError) -> str:
    """What the database says, in one line."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause).strip() or type(cause).__name__
    return said.splitlines()[0].rpartition(">: ")[2]


def _short(sql: str) -> str:
    return " ".join(sql.split())


_TAGS: dict[type, str] = {bytes: "bytes", datetime: "datetime", date: "date", uuid.UUID: "uuid", Decimal: "decimal"}


def _written(value: Any) -> Any:
    """A parameter as JSON. Raises RehearsalError for one that cannot be repeated elsewhere."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return {"list": [_written(item) for item in value]}
    tag = _TAGS.get(type(value))
    if tag is None:
        raise RehearsalError(f"a migration executes a statement with a {type(value).__name__}, which cannot be rehearsed; use plain values")
    return {tag: value.hex() if isinstance(value, bytes) else str(value)}


def _read(value: Any) -> Any:
    """The parameter that `_written` wrote."""
    if not isinstance(value, dict):
        return value
    ((tag, said),) = value.items()
    if tag == "list":
        return [_read(item) for item in said]
    readers: dict[str, Callable[[str], Any]] = {
        "bytes": bytes.fromhex, "datetime": datetime.fromisoformat, "date": date.fromisoformat, "uuid": uuid.UUID, "decimal": Decimal,
    }
    return readers[tag](said)


def main(rehearsal: Rehearsal, argv: Sequence[str] | None = None) -> int:
    """`prepare`, `capture FILE` or `check FILE...`; the result is the last line of the output, as JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"barberpro_{rehearsal.service}.rehearse", description=__doc__)
    parser.add_argument("command", choices=["prepare", "capture", "check"])
    parser.add_argument("files", nargs="*", type=Path, help="where statements are written to, or read from in this order")
    parser.add_argument("--role", default="", help="the role that serves")
    parser.add_argument("--database", type=Path, default=DATABASE, help="folder of the mounted Secret")
    options = parser.parse_args(argv)
    result: dict[str, Any] = {"service": rehearsal.service, "command": options.command}
    try:
        result |= asyncio.run(_run(rehearsal, options))
        code = 0
    except (ConfigError, DatabaseUnavailable, MigrationError, RehearsalError, DBAPIError) as error:
        result["error"] = _reason(error) if isinstance(error, DBAPIError) else str(error)
        code = 1
    print(json.dumps({"rehearsal": result}), flush=True)
    return code


async def _run(rehearsal: Rehearsal, options: argparse.Namespace) -> dict[str, Any]:
    settings = await asyncio.to_thread(read_database, options.database)
    if options.command == "prepare":
        return await prepare(rehearsal, settings, options.role)
    if options.command == "capture":
        statements = await capture(rehearsal, settings)
        await asyncio.to_thread(options.files[0].write_text, json.dumps(statements))
        return {"head": rehearsal.migrations.head(), "statements": statements}
    found = [item for path in options.files for item in json.loads(await asyncio.to_thread(path.read_text))]
    return await check(rehearsal, settings, options.role, found)
