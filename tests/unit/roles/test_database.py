"""The role of the database: what it writes and the isolation report expects are one text; which rows are a business's own; what its server may log."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._sql import IDENTITY, IDENTITY_BODY

import barberpro_booking.migrations
import barberpro_booking.tables
import barberpro_walkin.migrations
import barberpro_walkin.tables
from tests.support import database_role
from tests.support.cluster import ROOT

ROLE = ROOT / "roles" / "database"


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


def test_the_report_expects_the_function_that_the_role_makes() -> None:
    made = re.findall(
        rf"CREATE OR REPLACE FUNCTION {re.escape(IDENTITY)}\(\) RETURNS name LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog\s+"
        r"AS \$\$(.*?)\$\$;",
        database_role.shared(),
        re.DOTALL,
    )
    assert made == [IDENTITY_BODY]


def test_vault_administers_every_role_that_is_made_where_the_server_asks_for_it() -> None:
    made = database_role.tenant(database_schema="t_one", database_owner_password="o", database_app_password="a", database_readonly_password="r")
    made += database_role.login(database_schema="t_one", database_app_role="t_one_app_b", database_app_password="b")
    for role in ("owner", "app", "app_b", "ro"):
        assert made.count(f'GRANT "t_one_{role}" TO barberpro_vault WITH ADMIN TRUE, INHERIT FALSE, SET FALSE') == 1
    assert made.count("current_setting('server_version_num')::int >= 160000 AND to_regrole('barberpro_vault') IS NOT NULL") == 4


def test_the_platforms_server_logs_no_values() -> None:
    text = (ROOT / "roles" / "platform" / "templates" / "postgresql" / "postgresql.conf.j2").read_text()
    settings = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))
    wanted = {
        "log_statement": "none", "log_parameter_max_length": "0", "log_parameter_max_length_on_error": "0", "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
    assert {name: settings.get(name) for name in wanted} == wanted
    # What a managed server must be given is the same.
    documented = (ROOT / "docs" / "isolation_data.md").read_text()
    assert [name for name in wanted if f"`{name}`" not in documented] == []


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("permission denied to create role\nDETAIL:  Only roles with CREATEROLE may.\nCONTEXT:  SQL statement \"CREATE ROLE x\"",
         "refused what database_admin_user managed asked of it for schema t_one: permission denied to create role; correct that"),
        ("tuple concurrently updated\n", "for schema t_one: tuple concurrently updated; correct that"),
        ("syntax error at or near \"'SCRAM-SHA-256$4096:c2FsdA==$aa:bb'\"\nLINE 1: PASSWORD 'SCRAM", "for schema t_one: syntax error; correct that"),
        ("terminating connection due to administrator command\nSSL connection has been closed unexpectedly\n",
         "PostgreSQL at db:5432 is away (terminating connection due to administrator command) and has not come back within a minute; see that the server runs"),
    ],
)  # fmt: skip
def test_of_a_statement_that_failed_only_what_the_server_said_first_is_judged_and_shown(reason: str, said: str) -> None:
    given = {"database_schema": "t_one", "database_admin_host": "db", "database_admin_port": 5432, "database_admin_user": "managed"}
    query = database_role.tenant(database_owner_password="o", database_app_password="a", database_readonly_password="r", **given)
    assert "CONNECTION LIMIT" in query
    # As community.postgresql has it, and as it might have it one day.
    for message, shown in (
        (f"Cannot execute SQL '{query}' None: {reason}, query list: {[query]}", said),
        (f"Cannot execute SQL '{query}': {reason}", "for schema t_one: the statement was refused; correct that"),
    ):
        sentence = " ".join(database_role.unmade(message, **given).split())
        assert shown in sentence
        assert [word for word in ("SCRAM", "DO $$", "CONNECTION LIMIT", "CONTEXT", "DETAIL") if word in sentence] == []


def test_a_server_that_cannot_be_reached_is_away() -> None:
    message = 'unable to connect to database: connection to server at "db", port 5432 failed: Connection refused\n\tIs the server running on that host?'
    given = {"database_schema": "t_one", "database_admin_host": "db", "database_admin_port": 5432}
    said = 'is away (unable to connect to database: connection to server at "db", port 5432 failed: Connection refused) and has not come back'
    assert said in database_role.unmade(message, **given)
