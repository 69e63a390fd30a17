"""PostgreSQL as its administrator sees it: another client than the playbooks'."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.support import cluster

_SCHEMA = re.compile(r"[tx]_[0-9a-f]{20}")


def _connection() -> psycopg.Connection[Any]:
    secret = cluster.objects("secret", "postgresql-admin", "-n", "barberpro-data")[0]
    password = base64.b64decode(secret["data"]["password"]).decode()
    host = cluster.facts()["node_ip"]
    return psycopg.connect(host=host, port=30432, user="postgres", password=password, dbname="barberpro", sslmode="require", autocommit=True)


def run(statement: str) -> None:
    """Run a statement."""
    with _connection() as connection:
        connection.execute(statement.encode())


def rows(query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with _connection() as connection:
        return connection.execute(query.encode()).fetchall()


@contextmanager
def locked(schema: str, table: str) -> Iterator[int]:
    """Keep everybody from a table while the body runs; yields the process of the server that holds it."""
    with _connection() as connection, connection.transaction():
        connection.execute(f'LOCK TABLE "{schema}"."{table}" IN ACCESS EXCLUSIVE MODE'.encode())
        yield connection.info.backend_pid


def waiting_for(process: int) -> set[str]:
    """Return the roles that wait for what a process of the server holds."""
    return {role for (role,) in rows(f"SELECT usename FROM pg_stat_activity WHERE backend_type = 'client backend' AND {process} = ANY (pg_blocking_pids(pid))")}


def schema_of(tenant: str) -> str:
    """Return the name of a tenant's schema, as its own Secret says it."""
    secret = cluster.objects("secret", "booking-database", "-n", f"tenant-{tenant}")[0]
    return base64.b64decode(secret["data"]["schema"]).decode()


def scratch_of(tenant: str) -> str:
    """Return the name of the schema in which a tenant's migrations are rehearsed (`__pipeline_scratch_schema` of roles/pipeline)."""
    return _name("x", f"rehearsal{tenant}")


def _name(prefix: str, words: str) -> str:
    facts = cluster.objects("secret", "barberpro-platform", "-n", "barberpro-system")[0]["data"]["facts"]
    salt = json.loads(base64.b64decode(facts))["salt"]
    return f"{prefix}_{hashlib.sha256(f'{salt}{words}'.encode()).hexdigest()[:20]}"


def _names(*tenants: str) -> set[str]:
    """Return the schemas, scratch schemas too, of tenants."""
    return {name for tenant in tenants for name in (_name("t", tenant), scratch_of(tenant))}


def _without(foreign: Callable[[str], bool], row: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return a row without the grants of foreign schemas' roles, None when the row itself is about one of these schemas."""
    kept: list[Any] = []
    for cell in row:
        text = str(cell)
        if text.startswith("{"):  # an access control list
            kept.append(sorted(item for item in text.strip("{}").split(",") if not any(map(foreign, _SCHEMA.findall(item)))))
        elif (name := _SCHEMA.match(text)) and foreign(name[0]):
            return None
        else:
            kept.append(cell)
    return tuple(kept)


def snapshot(of: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """Return all that a deploy could change in the database but rows: roles, schemas, their tables, columns, indexes, privileges and heads.

    Without the tenants of tests that run beside this one: these are the ones that say so, and for them, who name their own, all others.
    """
    names = _names(*([of] if of else cluster.BESIDE))

    def foreign(name: str) -> bool:
        return (name in names) is not bool(of)

    own = "nspname ~ '^[tx]_[0-9a-f]{20}$'"
    found = {
        "roles": rows("SELECT rolname, rolcanlogin, rolconnlimit, rolpassword FROM pg_authid ORDER BY 1"),
        "schemas": rows(f"SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE {own} ORDER BY 1"),
        "tables": rows(
            f"SELECT nspname, relname, relkind, relacl::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE {own} ORDER BY 1, 2"
        ),
        "columns": rows(
            "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema ~ '^[tx]_[0-9a-f]{20}$' ORDER BY 1, 2, 3"
        ),
        "database": rows("SELECT datacl::text FROM pg_database WHERE datname = current_database()"),
    }
    heads = []
    for schema, table in rows("SELECT schemaname, tablename FROM pg_tables WHERE tablename LIKE 'alembic_version_%' ORDER BY 1, 2"):
        if not foreign(schema):  # it may be gone by now
            heads += [(schema, table, head) for (head,) in rows(f'SELECT version_num FROM "{schema}"."{table}"')]
    return {key: [kept for row in part if (kept := _without(foreign, row)) is not None] for key, part in {**found, "heads": heads}.items()}


def as_login(login: Mapping[str, str], database: str = "barberpro") -> psycopg.Connection[Any]:
    """Log in with a user and a password, as the runner reaches the server."""
    return psycopg.connect(
        host=cluster.facts()["node_ip"], port=30432, user=login["user"], password=login["password"], dbname=database, sslmode="require", autocommit=True
    )


def can_log_in(user: str, password: str) -> bool:
    """Say whether a role can log in with a password."""
    try:
        as_login({"user": user, "password": password}).close()
    except psycopg.OperationalError:
        return False
    return True
