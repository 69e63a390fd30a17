"""What the pipeline asks a tenant's schema before it migrates or rolls back: whether there is anything to lose, and how far it was migrated."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._sql import first_row

from tests.integration.services import postgres
from tests.integration.services.conftest import ROOT

QUERIES = yaml.safe_load((ROOT / "roles/database/vars/main.yml").read_text())


def asked(tenant: postgres.Tenant, query: str) -> Any:
    """Return the answer to one of the role's queries, asked as its administrator."""
    server = {"host": "127.0.0.1", "port": tenant.server.port, "dbname": "barberpro", "sslmode": "disable", "user": "admin", "password": ""}
    return next(iter(first_row(server, query, {"schema": tenant.schema}).values()))


def test_a_schema_holds_rows_as_soon_as_one_table_does(bare_tenant: postgres.Tenant) -> None:
    held = QUERIES["__database_rows_query"]
    assert asked(bare_tenant, held) is False
    bare_tenant.sql("CREATE TABLE first (id int)")
    bare_tenant.sql("CREATE TABLE alembic_version_booking (version_num text)")
    bare_tenant.sql("INSERT INTO alembic_version_booking VALUES ('0001')")
    assert asked(bare_tenant, held) is False
    bare_tenant.sql('CREATE TABLE "Second one" (id int)')
    bare_tenant.sql('INSERT INTO "Second one" VALUES (NULL), (1)')
    assert asked(bare_tenant, held) is True


@pytest.mark.parametrize("migrated", [False, True])
def test_each_service_is_at_its_own_migration(request: pytest.FixtureRequest, migrated: bool) -> None:
    tenant = request.getfixturevalue("tenant" if migrated else "bare_tenant")
    heads = {"alembic_version_booking": "0002", "alembic_version_walkin": "0002"} if migrated else {}
    assert asked(tenant, f"SELECT {QUERIES['__database_heads_query']} AS heads") == heads
