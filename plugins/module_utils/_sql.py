# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to PostgreSQL, and the questions that are asked of it."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed

CONNECT_TIMEOUT = 10  # seconds
SHARED_SCHEMA = "shared"
"""The schema whose tables tenants share; row-level security gives each the rows whose column ``tenant`` names its own schema."""
IDENTITY = f"{SHARED_SCHEMA}.tenant"
"""The function that says whose a session is, by its login; row-level security of shared tables asks it."""
IDENTITY_BODY = " SELECT known.tenant FROM platform.logins known WHERE known.role = session_user "
"""Its body, character by character as the role ``database`` writes it (``__database_shared_text``); a unit test holds the two together."""
# Why the rows of a table in a schema that tenants share are not each its own tenant's; nothing where they are. An expression is one of the two that the role
# writes or it is a flaw: whatever else is in it, a client's setting for one, could open it. Who may act for the table's owner could drop the policy, so one
# that names him opens nothing.
SHARED = f"""
SELECT n.nspname, c.relname, CASE
  WHEN c.relkind NOT IN ('r', 'p') THEN 'shows what its owner may see'
  WHEN NOT c.relrowsecurity THEN 'has no row-level security'
  WHEN NOT c.relforcerowsecurity THEN 'has row-level security that does not bind its owner'
  ELSE (SELECT 'has a policy that asks something else than who has logged in: ' || string_agg(DISTINCT p.polname, ', ' ORDER BY p.polname)
        FROM pg_catalog.pg_policy p
        CROSS JOIN LATERAL (VALUES (pg_get_expr(p.polqual, p.polrelid)), (pg_get_expr(p.polwithcheck, p.polrelid))) AS e (condition)
        WHERE p.polrelid = c.oid AND p.polpermissive AND e.condition <> '(tenant = {IDENTITY}())'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE pg_has_role(r.oid, c.relowner, 'MEMBER')
                          AND e.condition = '(SESSION_USER = ''' || replace(r.rolname, '''', '''''') || '''::name)'))
  END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
WHO = """
SELECT array_remove(ARRAY[
         CASE WHEN l.lanname <> 'sql' OR p.prosrc <> %s THEN 'has another body' END,
         CASE WHEN NOT p.prosecdef THEN 'does not act for its owner' END,
         CASE WHEN p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog'] THEN 'has other settings' END,
         CASE WHEN p.proowner IS DISTINCT FROM (
                SELECT c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace m ON m.oid = c.relnamespace
                WHERE m.nspname = 'platform' AND c.relname = 'logins')
              THEN 'belongs to another role than platform.logins' END], NULL)
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE n.nspname || '.' || p.proname = %s AND p.pronargs = 0
"""
# What libpq says of a server that is away or about to be; anything else does not heal by waiting.
AWAY = re.compile("connection refused|timed out|timeout expired|starting up|shutting down|closed the connection|terminat|unreachable|no route", re.IGNORECASE)


def connect(values: Mapping[str, Any], ca_file: str | None = None) -> tuple[Any, Any]:
    """Return the driver and a connection that commits by itself, as the role that ``values`` name.

    ``values`` has host, port, dbname, user, password and perhaps sslmode. Raises CheckFailed.
    """
    try:
        driver = importlib.import_module("psycopg")
    except ImportError as error:
        raise CheckFailed(f"the Python package psycopg is needed ({error})", "install it for the interpreter that runs this", final=True) from error
    where = f"database {values['dbname']} at {values['host']}:{values['port']}"
    try:
        connection = driver.connect(
            host=values["host"],
            port=int(values["port"]),
            dbname=values["dbname"],
            user=values["user"],
            password=values["password"],
            sslmode=values.get("sslmode") or "prefer",
            sslrootcert=ca_file or None,
            connect_timeout=CONNECT_TIMEOUT,
            application_name="barberpro.platform",
            autocommit=True,
        )
    except driver.OperationalError as error:
        # Lines that begin with a tab are libpq's hints.
        reason = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")][-1].rsplit("failed: ", 1)[-1]
        hint = "check that PostgreSQL runs and that the runner may reach it"
        raise CheckFailed(f"{where} cannot be reached as role {values['user']}: {reason}", hint) from error
    return driver, connection


def first_row(values: Mapping[str, Any], query: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first row of a query by column, asked in a read-only transaction. Raises CheckFailed."""
    driver, connection = connect(values)
    try:
        with connection:
            connection.execute("SET default_transaction_read_only = on")
            # Values are put in here, not by the server, which would have to know the type of each.
            with driver.ClientCursor(connection, row_factory=driver.rows.dict_row) as cursor:
                return dict(cursor.execute(query, arguments).fetchone() or {})
    except driver.Error as error:
        raise CheckFailed(f"database {values['dbname']} at {values['host']}:{values['port']}: {str(error).strip().splitlines()[0]}") from error


def log_in(values: Mapping[str, Any], until: float = 0.0) -> None:
    """Log in as a role, and out again; a server that is away is waited for ``until`` that time of the monotonic clock. Raises CheckFailed."""
    while True:
        try:
            _driver, connection = connect(values)
        except CheckFailed as failed:
            if time.monotonic() > until or not AWAY.search(failed.reason):
                raise
            time.sleep(1)
        else:
            connection.close()
            return


def shared_flaws(cursor: Any, schemas: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return why the rows of a table that tenants share are not each its own tenant's, by schema and table. Everybody may ask."""
    # Whatever is not the server's own is then named with its schema, an operator too.
    cursor.execute("SET search_path = pg_catalog, pg_temp")
    cursor.execute(SHARED, (list(schemas),))
    return {(str(schema), str(table)): str(flaw) for schema, table, flaw in cursor.fetchall() if flaw}


def identity_flaw(cursor: Any) -> str:
    """Return how the function that says whose a session is differs from what the platform makes; nothing where it does not, or is not there."""
    cursor.execute(WHO, (IDENTITY_BODY, IDENTITY))
    flaws = [str(flaw) for row in cursor.fetchall() for flaw in row[0]]
    return f"is not as deploy_platform.yml makes it: it {', '.join(flaws)}" if flaws else ""
