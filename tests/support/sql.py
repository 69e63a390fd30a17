"""PostgreSQL as its administrator sees it: another client than the playbooks'."""

from __future__ import annotations

import base64
from typing import Any

import psycopg

from tests.support import cluster


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


def schema_of(tenant: str) -> str:
    """Return the name of a tenant's schema, as its own Secret says it."""
    secret = cluster.objects("secret", "booking-database", "-n", f"tenant-{tenant}")[0]
    return base64.b64decode(secret["data"]["schema"]).decode()


def snapshot() -> dict[str, list[tuple[Any, ...]]]:
    """Return all that a deploy could change in the database but rows: roles, schemas, their tables, columns, indexes, privileges and heads."""
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
        heads += [(schema, table, head) for (head,) in rows(f'SELECT version_num FROM "{schema}"."{table}"')]
    return {**found, "heads": heads}


def can_log_in(user: str, password: str) -> bool:
    """Say whether a role can log in with a password."""
    try:
        psycopg.connect(host=cluster.facts()["node_ip"], port=30432, user=user, password=password, dbname="barberpro", sslmode="require").close()
    except psycopg.OperationalError:
        return False
    return True
