"""What the app role of a tenant can and cannot do, tried on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.services import postgres
from tests.support.api_stand_in import StandIn, secret

Check = Callable[..., str]


@pytest.fixture
def neighbour(pg: postgres.Server, tenant: postgres.Tenant, tmp_path: Path) -> postgres.Tenant:
    """Another tenant with a table; ours has one too."""
    other = postgres.create_tenant(pg, tmp_path / "neighbour")
    for one in (tenant, other):
        one.sql(f"SET ROLE {one.schema}_owner; CREATE TABLE {one.schema}.bookings (id int)")
    return other


def test_its_own_schema_and_no_other(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    found = check("sql_access", namespace="ns", schema=tenant.schema, foreign_schemas=[neighbour.schema, "t_gone"])
    assert found.startswith(
        f"passed: role {tenant.schema}_app uses schema {tenant.schema} (1 table), sees its own rows of shared.usage and is refused in "
    )
    assert int(found.split("refused in ")[1].split()[0]) >= 2  # the neighbour and public at least


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("GRANT USAGE ON SCHEMA {other} TO {own}_app", "role {own}_app can use {other}, which is not its own"),
        ("ALTER ROLE {own}_app BYPASSRLS", "role {own}_app has rights over the whole server"),
        ("GRANT {other}_app TO {own}_app", "role {own}_app is a member of {other}_app"),
        ("GRANT CREATE ON SCHEMA {own} TO {own}_app", "role {own}_app can create tables in schema {own}, which only the owner role should"),
        ("REVOKE USAGE ON SCHEMA {own} FROM {own}_app", "role {own}_app cannot use its own schema {own}"),
        ("REVOKE SELECT ON {own}.bookings FROM {own}_app", "role {own}_app: permission denied for table bookings"),
        ("DROP SCHEMA {own} CASCADE", "schema {own} does not exist"),
    ],
)
def test_rights_that_are_wrong(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant, statement: str, words: str) -> None:
    names = {"own": tenant.schema, "other": neighbour.schema}
    tenant.sql(statement.format(**names))
    found = check("sql_access", namespace="ns")
    assert found.startswith("failed: ")
    assert words.format(**names) in found
    assert found.endswith("; run the infrastructure stage again; it sets the roles' rights")


def test_a_public_schema_that_everybody_may_use(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    tenant.sql("GRANT USAGE ON SCHEMA public TO PUBLIC")
    try:
        assert f"role {tenant.schema}_app can use public, which is not its own" in check("sql_access", namespace="ns")
    finally:
        tenant.sql("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    assert check("sql_access", namespace="ns").startswith("passed")


def test_rows_of_others_in_the_shared_table(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    tenant.sql("INSERT INTO shared.usage VALUES (%s, '2026-11-01', 'bookings', 3)", neighbour.schema)
    tenant.sql("INSERT INTO shared.usage VALUES (%s, '2026-11-01', 'bookings', 5)", tenant.schema)
    assert check("sql_access", namespace="ns").startswith("passed")
    ((others,),) = tenant.sql("SELECT count(*) FROM shared.usage WHERE tenant <> %s", tenant.schema)
    tenant.sql("ALTER TABLE shared.usage DISABLE ROW LEVEL SECURITY")
    try:
        found = check("sql_access", namespace="ns")
    finally:
        tenant.sql("ALTER TABLE shared.usage ENABLE ROW LEVEL SECURITY")
    assert found == (
        f"failed: role {tenant.schema}_app reads {others} row{'s' * (others > 1)} of other tenants in shared.usage; "
        "run deploy_platform.yml; it makes the policies of shared tables"
    )
    tenant.sql(f"GRANT CREATE ON SCHEMA shared TO {tenant.schema}_app")
    assert f"role {tenant.schema}_app can create tables in schema shared, which no tenant may" in check("sql_access", namespace="ns")


def test_a_policy_that_a_setting_opens(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    """It shows nothing to who sets nothing, so that counting rows does not find it."""
    tenant.sql("CREATE POLICY by_setting ON shared.usage FOR SELECT USING (tenant = current_setting('app.tenant', true) OR tenant = shared.tenant())")
    try:
        found = check("sql_access", namespace="ns")
    finally:
        tenant.sql("DROP POLICY by_setting ON shared.usage")
    assert found == (
        f"failed: role {tenant.schema}_app reads shared.usage, which has a policy that asks something else than who has logged in: by_setting; "
        "run deploy_platform.yml; it makes the policies of shared tables"
    )


def test_it_reads_only(check: Check, tenant: postgres.Tenant, neighbour: postgres.Tenant) -> None:
    before = tenant.sql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables WHERE schemaname LIKE 't\\_%'")
    assert check("sql_access", namespace="ns").startswith("passed")
    assert tenant.sql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables WHERE schemaname LIKE 't\\_%'") == before


def test_what_can_be_wrong_with_the_way_there(check: Check, api: StandIn, tenant: postgres.Tenant) -> None:
    assert "Secret ns/none does not exist; the infrastructure stage makes it" in check("sql_access", namespace="ns", secret="none")
    assert f"Secret ns/booking-database names schema {tenant.schema}, not t_other" in check("sql_access", namespace="ns", schema="t_other")
    port = postgres.free_port()
    found = check("sql_access", namespace="ns", host="127.0.0.1", port=port)
    assert f"failed: database barberpro at 127.0.0.1:{port} cannot be reached as role {tenant.schema}_app: " in found
    assert "Connection refused" in found
    values = {key: tenant.read("app", key) for key in ("host", "port", "dbname", "schema", "sslmode", "user")}
    api.answers["GET /api/v1/namespaces/ns/secrets/booking-database"] = secret("ns", "booking-database", **values, password="wrong-canary")
    found = check("sql_access", namespace="ns")
    assert "password authentication failed for user" in found
    assert "canary" not in found
    api.answers["GET /api/v1/namespaces/ns/secrets/booking-database"] = secret("ns", "booking-database", host="x")
    assert "Secret ns/booking-database lacks port, dbname, schema, user, password" in check("sql_access", namespace="ns")
