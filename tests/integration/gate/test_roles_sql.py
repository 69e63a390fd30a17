"""What a tenant's roles can reach, tried as each of them on a real PostgreSQL, whatever they set; and what is closed to everybody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.integration.services import postgres
from tests.support import database_role
from tests.support.waiting import until

ROLES = ("owner", "app", "ro")
# What a client might hope for: the names of roles and schemas, and settings by which elsewhere rows are told apart.
HOPES = ("app.tenant", "row_security", "session_replication_role")


@pytest.fixture
def neighbour(pg: postgres.Server, tenant: postgres.Tenant, tmp_path: Path) -> postgres.Tenant:
    """Another tenant; both have a table with a row, a sequence and a function."""
    other = postgres.create_tenant(pg, tmp_path / "neighbour")
    for one in (tenant, other):
        one.sql(
            f"SET ROLE {one.schema}_owner; CREATE TABLE {one.schema}.bookings (id serial PRIMARY KEY, name text); "
            f"INSERT INTO {one.schema}.bookings (name) VALUES ('{one.schema}'); "
            f"CREATE FUNCTION {one.schema}.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM {one.schema}.bookings'"
        )
        with as_role(one, "app") as connection:
            connection.execute("INSERT INTO shared.usage (day, measure, amount) VALUES ('2026-11-01', 'bookings', 7)")
    return other


def as_role(tenant: postgres.Tenant, role: str, database: str = "") -> psycopg.Connection:
    """Log in as one of the tenant's roles; the server counts a connection that was closed until its process has ended."""
    values = {key: tenant.read(role, key) for key in ("host", "port", "dbname", "user", "password")}
    values["dbname"] = database or values["dbname"]

    def connect() -> psycopg.Connection | str:
        try:
            return psycopg.connect(**values, sslmode="disable", autocommit=True)
        except psycopg.OperationalError as error:
            if "too many connections for role" not in str(error):
                raise
            return str(error)

    found = until(connect, f"room for a connection of {values['user']}", good=lambda answer: not isinstance(answer, str), pause=0.05)
    assert isinstance(found, psycopg.Connection)
    return found


def refused(connection: psycopg.Connection, statement: str) -> bool:
    """Say whether the server refuses a statement for want of a right."""
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def fails(connection: psycopg.Connection, statement: str) -> bool:
    """Say whether a statement gives nothing, for whatever reason."""
    try:
        connection.execute(statement.encode())
    except psycopg.Error:
        return True
    return False


def foreign_rows(own: str) -> str:
    """A statement that fails when it sees no other tenant's row of the shared table."""
    return f"SELECT 1 / (SELECT count(*) FROM shared.usage WHERE tenant <> '{own}')"


def attempts(own: str, other: str) -> list[str]:
    """Ways into a schema that is not the role's own, and into what the platform keeps."""
    return [
        f"SELECT * FROM {other}.bookings", f"INSERT INTO {other}.bookings (name) VALUES ('x')", f"UPDATE {other}.bookings SET name = 'x'",
        f"DELETE FROM {other}.bookings", f"TRUNCATE {other}.bookings", f"CREATE TABLE {other}.mine (id int)", f"SELECT {other}.peek()",
        f"SELECT nextval('{other}.bookings_id_seq')", f"CREATE VIEW {own}.theirs AS SELECT * FROM {other}.bookings",
        f"ALTER TABLE {other}.bookings OWNER TO {own}_owner", f"GRANT {other}_app TO {own}_owner", f"SET ROLE {other}_app", f"SET ROLE {other}_owner",
        "SET ROLE admin", f"SET SESSION AUTHORIZATION {other}_app",
        "CREATE TABLE public.mine (id int)", "CREATE SCHEMA mine", "CREATE TABLE platform.mine (id int)",
        "SELECT * FROM platform.logins", f"UPDATE platform.logins SET tenant = '{other}'", f"SELECT * FROM platform.login('{other}_app')",
        f"INSERT INTO shared.usage (tenant, day, measure, amount) VALUES ('{other}', '2026-11-02', 'bookings', 1)",
        f"UPDATE shared.usage SET tenant = '{other}'", "DELETE FROM shared.usage", "TRUNCATE shared.usage", "CREATE TABLE shared.mine (id int)",
        "CREATE POLICY mine ON shared.usage USING (true)", "ALTER TABLE shared.usage DISABLE ROW LEVEL SECURITY",
        "CREATE OR REPLACE FUNCTION shared.tenant() RETURNS name LANGUAGE sql AS 'SELECT NULL'",
        "SELECT * FROM pg_authid", "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT pg_read_file('PG_VERSION')",
    ]


@pytest.mark.parametrize("role", ROLES)
def test_no_way_leads_out_of_its_own_schema(tenant: postgres.Tenant, neighbour: postgres.Tenant, role: str) -> None:
    with as_role(tenant, role) as connection:
        open_ways = [way for way in attempts(tenant.schema, neighbour.schema) if not refused(connection, way)]
        assert fails(connection, foreign_rows(tenant.schema))
    assert open_ways == []
    assert neighbour.sql("SELECT amount FROM shared.usage WHERE tenant = %s", neighbour.schema) == [(7,)]
    assert neighbour.sql("SELECT name FROM bookings") == [(neighbour.schema,)]


@pytest.mark.parametrize("role", ROLES)
def test_no_setting_opens_one(tenant: postgres.Tenant, neighbour: postgres.Tenant, role: str) -> None:
    """Every setting that the role may set, to every kind of value that it takes, and each way tried after it."""
    own, other = tenant.schema, neighbour.schema
    ways = [
        f"SELECT * FROM {other}.bookings", "SELECT * FROM bookings", f"SELECT {other}.peek()", "SELECT * FROM platform.logins", f"SET ROLE {other}_app",
        foreign_rows(own),
    ]
    with as_role(tenant, role) as connection:
        settings = connection.execute("SELECT name, vartype, enumvals, min_val, max_val FROM pg_settings WHERE context = 'user'").fetchall()
    tried, opened = 0, []
    for name, kind, choices, low, high in [*settings, *((hope, "string", None, None, None) for hope in HOPES)]:
        for value in {"bool": ["on", "off"], "enum": choices}.get(kind) or ([low, high] if low is not None else [other, f"{other}_app", "admin"]):
            with as_role(tenant, role) as connection:
                connection.execute("SELECT set_config('search_path', %s, false)", (f"{other}, platform",))
                try:
                    connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
                except psycopg.Error:
                    continue
                tried += 1
                opened += [(name, value, way) for way in ways if not fails(connection, way)]
                # Who one is stays the same, unless the setting has made every answer impossible.
                assert connection.closed or connection.execute("SELECT session_user, current_user").fetchone() == (f"{own}_{role}",) * 2
    assert opened == []
    assert tried > 200


def test_the_reader_reads_all_of_its_own_and_writes_nothing(tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    own = tenant.schema
    tenant.sql(f"SET ROLE {own}_owner; CREATE TABLE {own}.later (id int)")
    with as_role(tenant, "ro") as connection:
        assert connection.execute(f"SELECT name FROM {own}.bookings".encode()).fetchall() == [(own,)]
        assert connection.execute(f"SELECT * FROM {own}.later".encode()).fetchall() == []
        # That it is asked to be able to write does not make it so.
        connection.execute(b"SET default_transaction_read_only = off")
        writes = [
            f"INSERT INTO {own}.later VALUES (1)", f"UPDATE {own}.bookings SET name = ''", f"DELETE FROM {own}.bookings", f"TRUNCATE {own}.later",
            f"SELECT nextval('{own}.bookings_id_seq')", f"CREATE TABLE {own}.mine (id int)", f"DROP TABLE {own}.later", f"SELECT {own}.peek()",
        ]
        assert [write for write in writes if not refused(connection, write)] == []


def test_each_keeps_its_own_rows_of_the_shared_table(tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    """Whose a row is, the server says; the reader sees what the services entered, and the owner of the table is bound too."""
    with as_role(tenant, "app") as connection:
        connection.execute("UPDATE shared.usage SET amount = 9")
        assert connection.execute("SELECT tenant, amount FROM shared.usage").fetchall() == [(tenant.schema, 9)]
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO shared.usage (day, measure, amount) VALUES ('2026-11-02', 'bookings', -1)")
    with as_role(tenant, "ro") as connection:
        assert connection.execute("SELECT tenant, amount FROM shared.usage").fetchall() == [(tenant.schema, 9)]
        assert refused(connection, "INSERT INTO shared.usage (day, measure, amount) VALUES ('2026-11-02', 'bookings', 1)")
    assert neighbour.sql("SELECT amount FROM shared.usage WHERE tenant = %s", neighbour.schema) == [(7,)]
    # The table's owner is bound like everybody: what runs as the owner in a tenant's session shows nothing.
    with psycopg.connect(tenant.server.admin) as admin:
        admin.execute(
            "CREATE ROLE deputy; GRANT USAGE, CREATE ON SCHEMA shared TO deputy; GRANT EXECUTE ON FUNCTION shared.tenant() TO deputy;"
            "ALTER TABLE shared.usage OWNER TO deputy; DROP POLICY administration ON shared.usage; SET ROLE deputy"
        )
        admin.execute("SET LOCAL row_security = on")
        assert admin.execute("SELECT count(*) FROM shared.usage").fetchone() == (0,)
        admin.rollback()


def test_the_second_of_a_pair_can_what_the_first_can(tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    schema = tenant.schema
    with psycopg.connect(tenant.server.admin, autocommit=True) as admin:
        admin.execute(database_role.login(database_schema=schema, database_app_role=f"{schema}_app_b", database_app_password="second").encode())
        limits = admin.execute("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", (f"{schema}_app%",)).fetchall()
        known = admin.execute("SELECT role, tenant FROM platform.logins WHERE tenant = %s ORDER BY 1", (schema,)).fetchall()
    assert limits == [(f"{schema}_app", 50), (f"{schema}_app_b", 50)]
    assert known == [(f"{schema}_{role}", schema) for role in ("app", "app_b", "ro")]
    (tenant.app_dir / "user").write_text(f"{schema}_app_b")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        as_role(tenant, "app")
    (tenant.app_dir / "password").write_text("second")
    with as_role(tenant, "app") as connection:
        connection.execute(f"INSERT INTO {schema}.bookings (name) VALUES ('from the second')".encode())
        assert [way for way in attempts(schema, neighbour.schema) if not refused(connection, way)] == []


@pytest.mark.parametrize("known_as", ["app", "app_b"])
def test_a_role_of_the_pair_that_is_known_as_anothers_is_found_and_corrected(tenant: postgres.Tenant, neighbour: postgres.Tenant, known_as: str) -> None:
    """Whichever of the two serves: the other one can log in as well."""
    schema = tenant.schema
    asked = {"schema": schema, "owner": f"{schema}_owner", "app": f"{schema}_app", "readonly": f"{schema}_ro", "limit": 50}
    with psycopg.connect(tenant.server.admin, autocommit=True) as admin, psycopg.ClientCursor(admin, row_factory=psycopg.rows.dict_row) as cursor:
        admin.execute(database_role.login(database_schema=schema, database_app_role=f"{schema}_app_b", database_app_password="second").encode())

        def known() -> bool:
            row = cursor.execute(database_role.inspection().encode(), asked).fetchone()
            return bool(row and row["app_known"])

        assert known()
        admin.execute("UPDATE platform.logins SET tenant = %s WHERE role = %s", (neighbour.schema, f"{schema}_{known_as}"))
        assert not known()
        admin.execute(database_role.login(database_schema=schema, database_app_role=f"{schema}_app", database_app_password="first").encode())
        assert known()
        rows = admin.execute("SELECT role FROM platform.logins WHERE tenant = %s ORDER BY 1", (schema,)).fetchall()
        assert rows == [(f"{schema}_{role}",) for role in ("app", "app_b", "ro")]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_no_role_may_connect_to_a_database_that_every_server_has(pg: postgres.Server, tenant: postgres.Tenant, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=f'permission denied for database "{database}"'):
        as_role(tenant, role, database)
    with psycopg.connect(pg.admin) as admin:
        rights = f"SELECT has_database_privilege('public', '{database}', 'TEMP'), has_database_privilege('barberpro_pooler', '{database}', 'CONNECT')"
        assert admin.execute(rights.encode()).fetchone() == (False, False)


def test_closing_goes_round_what_is_not_the_administrators(pg: postgres.Server) -> None:
    """A managed server has databases that its customers' administrator does not own, and names that are not there are no reason to stop."""
    with psycopg.connect(pg.admin, autocommit=True) as admin:
        for statement in ("CREATE ROLE of_the_provider", "CREATE DATABASE providers OWNER of_the_provider", "CREATE ROLE managed_admin"):
            admin.execute(statement.encode())
        try:
            admin.execute("SET ROLE managed_admin")
            admin.execute(database_role.closing(database_closed_databases=["providers", "nothing"]).encode())
            admin.execute("RESET ROLE")
            assert admin.execute("SELECT has_database_privilege('public', 'providers', 'CONNECT')").fetchone() == (True,)
            admin.execute(database_role.closing(database_closed_databases=["providers", "nothing"]).encode())
            assert admin.execute("SELECT has_database_privilege('public', 'providers', 'CONNECT')").fetchone() == (False,)
        finally:
            for statement in ("DROP DATABASE providers", "DROP ROLE of_the_provider", "DROP ROLE managed_admin"):
                admin.execute(statement.encode())


def test_only_the_pooler_may_look_logins_up(pg: postgres.Server, tenant: postgres.Tenant, check: Callable[..., str]) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=pg.port, dbname="barberpro", user="barberpro_pooler", password=postgres.POOLER, sslmode="disable", autocommit=True
    ) as pooler:
        name = f"{tenant.schema}_app"
        ((role, verifier),) = pooler.execute("SELECT * FROM platform.login(%s)", (name,)).fetchall()
        assert (role, verifier) == (name, tenant.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", name)[0][0])
        assert pooler.execute("SELECT * FROM platform.login(%s)", (f"{tenant.schema}_owner",)).fetchall() == []
        assert refused(pooler, "SELECT * FROM platform.logins")
        assert refused(pooler, f"SELECT * FROM {tenant.schema}.bookings")
    assert check("sql_access", namespace="ns").startswith("passed")


def test_connections_end_with_their_role(pg: postgres.Server, neighbour: postgres.Tenant, tmp_path: Path) -> None:
    """A pooler keeps them open; a tenant of the same name that comes later must not be given one of a role that is gone."""
    leaving = postgres.create_tenant(pg, tmp_path / "leaving")
    with as_role(leaving, "app") as connection, as_role(neighbour, "app") as other:
        with psycopg.connect(pg.admin, autocommit=True) as admin:
            admin.execute(database_role.gone(database_schema=leaving.schema).encode())
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("also_elsewhere", [False, True])
def test_large_objects_go_with_their_role(pg: postgres.Server, tmp_path: Path, also_elsewhere: bool) -> None:
    """Every role may make large objects, which lie in no schema: those here, and those of a database that was closed only later."""
    leaving = postgres.create_tenant(pg, tmp_path / "leaving")
    elsewhere = pg.admin.replace("dbname=barberpro", "dbname=postgres")
    for role in ROLES:
        with as_role(leaving, role) as connection:
            connection.execute("SELECT lo_from_bytea(0, 'kept')")
    if also_elsewhere:
        with psycopg.connect(elsewhere, autocommit=True) as admin:
            admin.execute(f"SET ROLE {leaving.schema}_app; SELECT lo_from_bytea(0, 'kept'); RESET ROLE".encode())
    found = database_role.run(pg.port, tmp_path, leaving.schema, "absent")
    assert found.code == 0, found.output
    for database in (pg.admin, elsewhere):
        with psycopg.connect(database) as admin:
            assert admin.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)
    with psycopg.connect(pg.admin) as admin:
        assert admin.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", (f"{leaving.schema}%",)).fetchone() == (0,)
