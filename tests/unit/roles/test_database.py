"""The role of the database: which rows count as a business's own when a failed first deploy cleans up after itself."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import barberpro_booking.migrations
import barberpro_booking.tables
import barberpro_walkin.migrations
import barberpro_walkin.tables

ROLE = Path(__file__).resolve().parents[3] / "roles" / "database"


def test_what_a_deploy_writes_by_itself_is_disposable_and_nothing_else_is() -> None:
    """PostgreSQL's `~` finds a pattern anywhere, as re.search does."""
    pattern = re.compile("|".join(yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())["database_disposable_tables"]))
    services = (barberpro_booking, barberpro_walkin)
    tables = {name for service in services for name in service.tables.METADATA.tables} | {service.migrations.MIGRATIONS.version_table for service in services}
    assert {name for name in tables if pattern.search(name)} == {
        "alembic_version_booking", "alembic_version_walkin", "business_settings", "idempotency_keys", "data_keys",
    }
    own = ("customer_settings", "settings_of_staff", "alembic_drinks", "old_data_keys", "idempotency_keys_kept")
    assert [name for name in own if pattern.search(name)] == []
