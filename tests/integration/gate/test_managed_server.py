"""A managed server, whose administrator may make roles and is no superuser: a tenant comes, rotates, is rehearsed and leaves; and what Vault may.

``BARBERPRO_POSTGRESQL_PROGRAMS`` names the programs of another version than the installed one; from 16 on the server gives the administrator less.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._isolation_sql import examine

from tests.integration.services import postgres
from tests.support import database_role
from tests.support.playbooks import Run

VAULT = "password-of-vault"
ADMINISTRATOR = {"database_admin_user": "managed", "database_admin_password": "m", "database_pooler_password": "p", "database_vault_password": VAULT}


@pytest.fixture(scope="module")
def managed() -> Iterator[postgres.Server]:
    """A server with a database of an administrator who is no superuser, and what tenants share, as he makes it."""
    with postgres.empty_server() as running:
        with psycopg.connect(running.admin.replace("dbname=barberpro", "dbname=postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE managed LOGIN CREATEROLE PASSWORD 'm'")
            connection.execute("CREATE DATABASE barberpro OWNER managed")
        yield running


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    return f"{getattr(request, 'param', 't')}_{secrets.token_hex(10)}"


def run(managed: postgres.Server, folder: Path, schema: str, *tasks: str, **values: Any) -> Run:
    found = database_role.run(managed.port, folder, schema, *tasks, **ADMINISTRATOR, **values)
    assert found.code == 0, found.output
    return found


def rows(managed: postgres.Server, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(managed.admin) as connection:
        return connection.execute(query.encode()).fetchall()


def left(managed: postgres.Server, schema: str) -> list[tuple[Any, ...]]:
    """Return the roles, schemas and rows that are left of a tenant."""
    return rows(
        managed,
        f"SELECT rolname::text FROM pg_roles WHERE rolname LIKE '{schema}%' UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = '{schema}' "
        f"UNION ALL SELECT tenant FROM platform.logins WHERE tenant = '{schema}' UNION ALL SELECT tenant FROM shared.usage WHERE tenant = '{schema}'",
    )


def log_in(managed: postgres.Server, user: str, password: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host="127.0.0.1", port=managed.port, dbname="barberpro", user=user, password=password, sslmode="disable", autocommit=True)


def test_a_tenant_comes_rotates_and_leaves(managed: postgres.Server, tmp_path: Path, schema: str) -> None:
    run(managed, tmp_path, schema, "shared", "main")
    run(managed, tmp_path, schema, "shared", "main", "login", database_app_role=f"{schema}_app_b", database_app_password="second")
    with log_in(managed, f"{schema}_owner", "o") as owner:
        owner.execute(f"CREATE TABLE {schema}.bookings (id int); CREATE TYPE {schema}.times AS RANGE (subtype = time)".encode())
    server = {"host": "127.0.0.1", "port": managed.port, "name": "barberpro", "user": "managed", "password": "m", "sslmode": "disable", "ca_file": None}
    open_elsewhere = [finding["sentence"].partition(",")[0] for finding in examine(server, {schema: "shop"}, ["shared"])["findings"]]
    # These are not the administrator's to close; nothing else is said of what he made.
    assert open_elsewhere == [f"PUBLIC may connect to database {name}" for name in ("postgres", "template1")]
    with log_in(managed, f"{schema}_app_b", "second") as app:
        app.execute(f"INSERT INTO {schema}.bookings VALUES (1)".encode())
        app.execute("INSERT INTO shared.usage (day, measure, amount) VALUES ('2026-11-01', 'bookings', 7)")
        app.execute("SELECT lo_from_bytea(0, 'kept')")
        # With the connection open, as a pooler keeps it.
        run(managed, tmp_path, schema, "absent")
        with pytest.raises(psycopg.OperationalError):
            app.execute("SELECT 1")
    assert left(managed, schema) == []
    assert rows(managed, "SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


@pytest.mark.parametrize("schema", ["x"], indirect=True)
def test_a_rehearsal(managed: postgres.Server, tmp_path: Path, schema: str) -> None:
    """Begun twice, as after a run that was killed."""
    run(managed, tmp_path, schema, "shared", "scratch")
    with log_in(managed, f"{schema}_owner", "o") as owner:
        owner.execute(f"CREATE TABLE {schema}.bookings (id int); SET ROLE {schema}_app; INSERT INTO {schema}.bookings VALUES (1)".encode())
    run(managed, tmp_path, schema, "scratch", "scratch_absent")
    assert left(managed, schema) == []


def test_vault_sets_passwords(managed: postgres.Server, tmp_path: Path, schema: str) -> None:
    """Of all roles of a tenant, of the pair's second too; of one whose roles were there before Vault's role as well, once it is deployed again."""
    run(managed, tmp_path, schema, "shared", "main")
    roles = [f"{schema}_{role}" for role in ("owner", "app", "ro", "app_b")]
    with psycopg.connect(managed.admin, autocommit=True) as admin:
        since_16 = admin.info.server_version >= 160000
        if since_16:
            for role in roles[:3]:
                admin.execute(f"REVOKE {role} FROM barberpro_vault GRANTED BY managed".encode())
    if since_16:
        with log_in(managed, "barberpro_vault", VAULT) as vault, pytest.raises(psycopg.errors.InsufficientPrivilege):
            vault.execute(f"ALTER ROLE {roles[0]} PASSWORD 'of-vault'".encode())
        assert "let Vault set the passwords of these roles" in run(managed, tmp_path, schema, "inspect", "plan", verbosity=1).output
    run(managed, tmp_path, schema, "main")
    run(managed, tmp_path, schema, "login", database_app_role=roles[3], database_app_password="")
    with log_in(managed, "barberpro_vault", VAULT) as vault:
        for role in roles:
            vault.execute(f"ALTER ROLE {role} PASSWORD 'of-vault'".encode())
            log_in(managed, role, "of-vault").close()
        # It administers them, and does not have what is theirs.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            vault.execute(f"CREATE TABLE {schema}.mine (id int)".encode())
    run(managed, tmp_path, schema, "absent")
    assert left(managed, schema) == []
