"""What the isolation report says of tenants' roles and schemas, on a real PostgreSQL with two tenants and a schema that is nobody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.modules import isolation_report

from benchmarks import fleet
from tests.integration.services import postgres
from tests.support import modules
from tests.support.api_stand_in import StandIn, secret

PATHS = {
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "accounts": "/api/v1/serviceaccounts",
    "quotas": "/api/v1/resourcequotas",
    "nodes": "/api/v1/nodes",
    **{kind: f"/apis/rbac.authorization.k8s.io/v1/{kind.replace('_', '')}" for kind in ("roles", "role_bindings", "cluster_roles", "cluster_role_bindings")},
}
OWN = "DROP POLICY own ON shared.usage; CREATE POLICY own ON shared.usage USING (tenant = shared.tenant())"
ONE, OTHER = "shop-0000", "shop-0001"


@pytest.fixture
def neighbour(pg: postgres.Server, tenant: postgres.Tenant, tmp_path: Path) -> Iterator[postgres.Tenant]:
    """Another tenant with a table and a range type, as the booking service has; ours has them too."""
    other = postgres.create_tenant(pg, tmp_path / "neighbour")
    for one in (tenant, other):
        one.sql(
            f"SET ROLE {one.schema}_owner; CREATE TABLE {one.schema}.bookings (id int, name text); "
            f"CREATE TYPE {one.schema}.times AS RANGE (subtype = time)"
        )
    yield other
    for one in (tenant, other):
        one.sql(f"DROP SCHEMA {one.schema} CASCADE")


@pytest.fixture
def report(api: StandIn, pg: postgres.Server, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> Callable[..., dict[str, Any]]:
    """The report of two tenants whose Secrets name these schemas."""
    for kind, objects in fleet.objects(2).items():
        api.items(PATHS[kind], *objects)
    owned = ((ONE, tenant), (OTHER, neighbour))
    api.items("/api/v1/secrets", *(secret(f"tenant-{name}", "booking-database", schema=item.schema) for name, item in owned))

    def run(**more: Any) -> dict[str, Any]:
        database = {"host": "127.0.0.1", "port": pg.port, "user": "admin", "sslmode": "disable", **more}
        return modules.call(isolation_report, {"kubeconfig": api.kubeconfig, "database": database})

    return run


def test_each_role_in_its_own_schema_alone(report: Callable[..., dict[str, Any]]) -> None:
    found = report()
    assert found["findings"] == []
    assert found["summary"] == "2 tenants, 2 pairs, nobody reaches anybody"
    assert {key: found["report"]["sql"][key] for key in ("roles", "schemas", "pairs", "without_schema")} == {
        "roles": 6,
        "schemas": 2,
        "pairs": 6,
        "without_schema": [],
    }


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("GRANT USAGE ON SCHEMA {other} TO {own}_app", ["role {own}_app of tenant shop-0000 may use schema {other} of tenant shop-0001"]),
        (
            "GRANT USAGE, CREATE ON SCHEMA {other} TO {own}_owner",
            ["role {own}_owner of tenant shop-0000 may use and create objects in schema {other} of tenant shop-0001"],
        ),
        (
            "GRANT SELECT, INSERT ON {other}.bookings TO {own}_app",
            ["role {own}_app of tenant shop-0000 may insert, select {other}.bookings of tenant shop-0001"],
        ),
        ("GRANT SELECT (name) ON {other}.bookings TO {own}_app", ["role {own}_app of tenant shop-0000 may select {other}.bookings of tenant shop-0001"]),
        ("GRANT SELECT ON {other}.bookings TO PUBLIC", ["PUBLIC may select {other}.bookings of tenant shop-0001"]),
        ("ALTER TABLE {other}.bookings OWNER TO {own}_owner", ["role {own}_owner of tenant shop-0000 owns {other}.bookings of tenant shop-0001"]),
        (
            "GRANT {other}_app TO {own}_app",
            [
                "role {own}_app of tenant shop-0000 is a member of role {other}_app",
                "role {own}_app of tenant shop-0000 may use schema {other} of tenant shop-0001",
            ],
        ),
        ("ALTER ROLE {own}_app BYPASSRLS", ["role {own}_app of tenant shop-0000 passes row-level security by"]),
        (
            "ALTER ROLE {own}_app CREATEROLE CREATEDB",
            ["role {own}_app of tenant shop-0000 can create roles", "role {own}_app of tenant shop-0000 can create databases"],
        ),
    ],
)
def test_a_right_too_many_is_named(
    report: Callable[..., dict[str, Any]], tenant: postgres.Tenant, neighbour: postgres.Tenant, statement: str, words: list[str]
) -> None:
    names = {"own": tenant.schema, "other": neighbour.schema}
    tenant.sql(statement.format(**names))
    found = report()
    assert found["findings"] == [line.format(**names) for line in words]
    assert not found["isolated"]


@pytest.mark.parametrize(
    ("statement", "undo", "words"),
    [
        ("ALTER TABLE shared.usage DISABLE ROW LEVEL SECURITY", "ALTER TABLE shared.usage ENABLE ROW LEVEL SECURITY", "has no row-level security"),
        (
            "ALTER TABLE shared.usage NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE shared.usage FORCE ROW LEVEL SECURITY",
            "has row-level security that does not bind its owner",
        ),
        (
            "CREATE POLICY by_setting ON shared.usage USING (tenant = current_setting('app.tenant'))",
            "DROP POLICY by_setting ON shared.usage",
            "has a policy that asks something else than who has logged in: by_setting",
        ),
        (
            "DROP POLICY own ON shared.usage; CREATE POLICY own ON shared.usage USING (tenant = current_setting('app.tenant') OR session_user = 'admin')",
            OWN,
            "has a policy that asks something else than who has logged in: own",
        ),
        (
            "CREATE POLICY anybody ON shared.usage USING (session_user IS NOT NULL)",
            "DROP POLICY anybody ON shared.usage",
            "has a policy that asks something else than who has logged in: anybody",
        ),
        (
            "CREATE POLICY neighbour ON shared.usage FOR SELECT USING (session_user = '{own}_app')",
            "DROP POLICY neighbour ON shared.usage",
            "has a policy that asks something else than who has logged in: neighbour",
        ),
        (
            "CREATE POLICY entered ON shared.usage FOR UPDATE USING (tenant = shared.tenant()) WITH CHECK (tenant = shared.tenant() OR session_user <> '')",
            "DROP POLICY entered ON shared.usage",
            "has a policy that asks something else than who has logged in: entered",
        ),
        (
            "CREATE FUNCTION public.same(name, name) RETURNS bool LANGUAGE sql AS 'SELECT true';"
            "CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = name, RIGHTARG = name);"
            "CREATE POLICY equals ON shared.usage USING (tenant OPERATOR(public.=) shared.tenant())",
            "DROP POLICY equals ON shared.usage; DROP OPERATOR public.= (name, name); DROP FUNCTION public.same",
            "has a policy that asks something else than who has logged in: equals",
        ),
        (
            "CREATE POLICY anything ON shared.usage FOR INSERT WITH CHECK (true)",
            "DROP POLICY anything ON shared.usage",
            "has a policy that asks something else than who has logged in: anything",
        ),
    ],
)
def test_a_shared_table_whose_rows_are_open_is_named(
    report: Callable[..., dict[str, Any]], tenant: postgres.Tenant, neighbour: postgres.Tenant, statement: str, undo: str, words: str
) -> None:
    tenant.sql(statement.format(own=tenant.schema))
    try:
        found = report()["findings"]
    finally:
        tenant.sql(undo)
    wanted = [
        f"role {item.schema}_{role} of tenant {name} may {rights} shared.usage, which {words}"
        for name, item in ((ONE, tenant), (OTHER, neighbour))
        for role, rights in (("app", "insert, select, update"), ("ro", "select"))
    ]
    assert sorted(found) == sorted(wanted)
    assert report()["findings"] == []


@pytest.mark.parametrize(
    ("statement", "undo", "words"),
    [
        (
            "GRANT TRUNCATE ON shared.usage TO {app}",
            "REVOKE TRUNCATE ON shared.usage FROM {app}",
            "truncate shared.usage, which row-level security does not bind",
        ),
        ("GRANT CREATE ON SCHEMA shared TO {app}", "REVOKE CREATE ON SCHEMA shared FROM {app}", "use and create objects in schema shared"),
        (
            "CREATE VIEW shared.everybody AS SELECT * FROM shared.usage; GRANT SELECT ON shared.everybody TO {app}",
            "DROP VIEW shared.everybody",
            "select shared.everybody, which shows what its owner may see",
        ),
        (
            "CREATE FUNCTION shared.all() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; REVOKE ALL ON FUNCTION shared.all() FROM PUBLIC;"
            "GRANT EXECUTE ON FUNCTION shared.all() TO {app}",
            "DROP FUNCTION shared.all()",
            "execute shared.all()",
        ),
        (
            "CREATE FUNCTION shared.tenant(asked text) RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT asked::name';"
            "REVOKE ALL ON FUNCTION shared.tenant(text) FROM PUBLIC; GRANT EXECUTE ON FUNCTION shared.tenant(text) TO {app}",
            "DROP FUNCTION shared.tenant(text)",
            "execute shared.tenant()",
        ),
    ],
)
def test_what_row_level_security_does_not_bind_is_named(
    report: Callable[..., dict[str, Any]], tenant: postgres.Tenant, statement: str, undo: str, words: str
) -> None:
    app = f"{tenant.schema}_app"
    tenant.sql(statement.format(app=app))
    try:
        assert report()["findings"] == [f"role {app} of tenant shop-0000 may {words}"]
    finally:
        tenant.sql(undo.format(app=app))


@pytest.mark.parametrize(
    ("statement", "flaws"),
    [
        (
            "CREATE OR REPLACE FUNCTION shared.tenant() RETURNS name LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog "
            "AS $$ SELECT current_setting('app.tenant')::name $$",
            "has another body",
        ),
        (
            "CREATE OR REPLACE FUNCTION shared.tenant() RETURNS name LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog "
            "AS $$ SELECT known.tenant FROM platform.logins known WHERE known.role = current_setting('app.role') $$",
            "has another body",
        ),
        ("ALTER FUNCTION shared.tenant() SECURITY INVOKER", "does not act for its owner"),
        ("ALTER FUNCTION shared.tenant() RESET search_path", "has other settings"),
        ("ALTER FUNCTION shared.tenant() SET search_path = public, pg_catalog", "has other settings"),
        ("ALTER FUNCTION shared.tenant() SET role = admin", "has other settings"),
        (
            "GRANT CREATE ON SCHEMA shared TO {own}_owner; ALTER FUNCTION shared.tenant() OWNER TO {own}_owner; "
            "REVOKE CREATE ON SCHEMA shared FROM {own}_owner",
            "belongs to another role than platform.logins",
        ),
    ],
)
def test_another_function_that_says_whose_a_session_is(
    report: Callable[..., dict[str, Any]], check: Callable[..., str], pg: postgres.Server, tenant: postgres.Tenant, statement: str, flaws: str
) -> None:
    """Named by the report and by the check of a deploy; the platform's playbook notices as well, and its statements put it right."""
    tenant.sql(statement.format(own=tenant.schema))
    try:
        assert postgres.shared_digest(pg) == ""
        sentence = f"function shared.tenant() is not as deploy_platform.yml makes it: it {flaws}; run "
        assert report()["findings"] == [f"{sentence}that playbook again"]
        assert check("sql_access", namespace="ns") == f"failed: {sentence}deploy_platform.yml; it makes the policies of shared tables"
    finally:
        tenant.sql("ALTER FUNCTION shared.tenant() OWNER TO admin; ALTER FUNCTION shared.tenant() RESET ALL")
        postgres.share(pg)
    assert report()["findings"] == []
    assert postgres.shared_digest(pg) != ""


def test_the_platforms_playbook_undoes_a_policy(report: Callable[..., dict[str, Any]], pg: postgres.Server, tenant: postgres.Tenant) -> None:
    assert postgres.shared_digest(pg) != ""
    tenant.sql("CREATE POLICY everything ON shared.usage USING (true); ALTER TABLE shared.usage NO FORCE ROW LEVEL SECURITY")
    assert postgres.shared_digest(pg) == ""
    postgres.share(pg)
    assert report()["findings"] == []
    assert postgres.shared_digest(pg) != ""


def test_a_login_that_is_known_as_anothers_is_named(
    report: Callable[..., dict[str, Any]], pg: postgres.Server, tenant: postgres.Tenant, neighbour: postgres.Tenant
) -> None:
    """As a restore or a hand may leave it, of a role that is there or not."""
    own, other = tenant.schema, neighbour.schema
    tenant.sql(f"INSERT INTO platform.logins VALUES ('{own}_app_b', '{other}', ''), ('{other}_app_b', '{other}', ''), ('somebody', '{other}', '')")
    try:
        words = f"is known in platform.logins as one of schema {other}, and has the rows of shared tables of tenant {OTHER}"
        lines = {"somebody": f"somebody {words}", f"{own}_app_b": f"role {own}_app_b of tenant {ONE} {words}"}
        assert report()["findings"] == [lines[role] for role in sorted(lines)]
        tenant.sql(f"UPDATE platform.logins SET tenant = '{other}' WHERE role = '{own}_app'")
        assert f"role {own}_app of tenant {ONE} {words}" in report()["findings"]
    finally:
        tenant.sql(f"UPDATE platform.logins SET tenant = '{own}' WHERE role = '{own}_app'")
        tenant.sql(f"DELETE FROM platform.logins WHERE role IN ('{own}_app_b', '{other}_app_b', 'somebody')")
    assert report()["findings"] == []


def test_everybody_may_connect_or_create(report: Callable[..., dict[str, Any]], tenant: postgres.Tenant) -> None:
    tenant.sql("GRANT CONNECT ON DATABASE barberpro TO PUBLIC; CREATE SCHEMA nobodys; GRANT USAGE ON SCHEMA nobodys TO PUBLIC")
    try:
        lines = report()["findings"]
        assert lines[0] == "PUBLIC may connect to the tenants' database; revoke CONNECT from PUBLIC"
        assert f"role {tenant.schema}_app of tenant shop-0000 may use schema nobodys" in lines
        assert len(lines) == 7
        assert len(report(shared_schemas=["nobodys"])["findings"]) == 1
    finally:
        tenant.sql("REVOKE CONNECT ON DATABASE barberpro FROM PUBLIC; DROP SCHEMA nobodys")


def test_another_database_that_is_open_is_named(report: Callable[..., dict[str, Any]], tenant: postgres.Tenant) -> None:
    """A database of the server that nobody closed, and one that lets a single role in; what takes no connections is closed."""
    app = f"{tenant.schema}_app"
    tenant.sql("CREATE DATABASE accounts")
    tenant.sql(f"GRANT CONNECT ON DATABASE template1 TO {app}")
    try:
        assert report()["findings"] == [
            "PUBLIC may connect to database accounts, and so may every tenant's role; REVOKE CONNECT, TEMPORARY ON DATABASE accounts FROM PUBLIC",
            f"role {app} of tenant shop-0000 may connect to database template1",
        ]
        tenant.sql("REVOKE CONNECT ON DATABASE accounts FROM PUBLIC")
        tenant.sql(f"GRANT CREATE ON DATABASE barberpro TO {app}")
        assert report()["findings"] == [
            f"role {app} of tenant shop-0000 may create schemas in the tenants' database",
            f"role {app} of tenant shop-0000 may connect to database template1",
        ]
        tenant.sql("GRANT TEMP ON DATABASE barberpro TO PUBLIC")
        assert "PUBLIC may make temporary tables in the tenants' database; revoke TEMPORARY from PUBLIC" in report()["findings"]
    finally:
        tenant.sql("DROP DATABASE accounts")
        for right, database, role in (("CONNECT", "template1", app), ("CREATE", "barberpro", app), ("TEMP", "barberpro", "PUBLIC")):
            tenant.sql(f"REVOKE {right} ON DATABASE {database} FROM {role}")
    assert report()["findings"] == []


def test_a_tenant_without_a_schema_is_told(report: Callable[..., dict[str, Any]], api: StandIn) -> None:
    api.items("/api/v1/secrets")
    assert report()["report"]["sql"]["without_schema"] == [ONE, OTHER]


def test_a_database_that_cannot_be_asked(report: Callable[..., dict[str, Any]], tenant: postgres.Tenant) -> None:
    role = f"{tenant.schema}_app"
    refused = report(user=role, password="wrong")
    assert refused["msg"] == (
        f"database barberpro at 127.0.0.1:{tenant.server.port} cannot be reached as role {role}: "
        f'FATAL:  password authentication failed for user "{role}"; check that PostgreSQL runs and that the runner may reach it'
    )
