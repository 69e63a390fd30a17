# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the app role of a tenant can use its own schema and no other, by really trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._access import AccessError, secret_values
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    listed,
    plural,
)
from ansible_collections.barberpro.platform.plugins.module_utils._sql import IDENTITY, SHARED_SCHEMA, connect, identity_flaw, shared_flaws

NEXT_STEP = "run the infrastructure stage again; it sets the roles' rights"
PLATFORM = "run deploy_platform.yml; it makes the policies of shared tables"
NEEDED = ("host", "port", "dbname", "schema", "user", "password")

# The schemas that are not the database's own.
SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname"
# The tables of a schema (plain, partitioned, views), by the catalogue, which everybody may read.
TABLES = """
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY c.relname
"""
ROLE = """
SELECT r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb,
       ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""


@check(
    "sql_access",
    lambda params: f"{params['namespace']} schema {params['schema']}" if params.get("schema") else str(params["namespace"]),
    namespace=Param("Namespace of the Secret.", required=True),
    secret=Param("Secret with the keys host, port, dbname, schema, sslmode, user and password.", default="booking-database"),
    host=Param("Replaces the Secret's host where the runner has to take another way."),
    port=Param("Replaces the Secret's port.", type="int"),
    schema=Param("Must equal the Secret's schema when it is given."),
    foreign_schemas=Param("Schemas to try beside those that the catalogue lists.", type="list", elements="str", default=[]),
    ca_file=Param("Bundle of certificates for the server."),
)
def sql_access(params: Mapping[str, Any], clients: Clients) -> str:
    """The app role can use its own schema and is refused in every other, tried for real in a read-only transaction; shared tables ask who has logged in."""
    place = f"{params['namespace']}/{params['secret']}"
    try:
        values = secret_values(clients.resources, params["namespace"], params["secret"])
    except AccessError as error:
        raise CheckFailed(error.message) from error
    missing = [key for key in NEEDED if not values.get(key)]
    if missing:
        raise CheckFailed(f"Secret {place} lacks {', '.join(missing)}", "run the infrastructure stage again")
    if params["schema"] and params["schema"] != values["schema"]:
        raise CheckFailed(f"Secret {place} names schema {values['schema']}, not {params['schema']}", "run the infrastructure stage again")
    values["host"] = params["host"] or values["host"]
    values["port"] = str(params["port"] or values["port"])
    return examine(values, params["foreign_schemas"], params["ca_file"])


def examine(values: Mapping[str, str], foreign: Sequence[str], ca_file: str | None = None) -> str:
    """Connect as the app role and try what it can do; ``values`` are those of the Secret. Returns the evidence or raises CheckFailed."""
    driver, connection = connect(values, ca_file)
    where = f"database {values['dbname']} at {values['host']}:{values['port']}"
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute("SET statement_timeout = '10s'")
            return _examine(cursor, driver, values, foreign)
    except driver.Error as error:
        raise CheckFailed(f"{where}: role {values['user']}: {str(error).strip().splitlines()[0]}", NEXT_STEP) from error


def _examine(cursor: Any, driver: Any, values: Mapping[str, str], foreign: Sequence[str]) -> str:
    """Try the role's rights on an open connection."""
    role, own = values["user"], values["schema"]
    cursor.execute(ROLE)
    privileged, groups = cursor.fetchone()
    # The second role of a pair is a member of the first.
    groups = [group for group in groups if group != f"{own}_app"]
    if privileged or groups:
        extra = "has rights over the whole server" if privileged else f"is a member of {', '.join(groups)}"
        raise CheckFailed(f"role {role} {extra}", NEXT_STEP)
    tables = _use_own(cursor, role, own)
    cursor.execute(SCHEMAS)
    known = {row[0] for row in cursor.fetchall()}
    shared = _shared(cursor, role, own) if SHARED_SCHEMA in known else ""
    others = sorted((known | set(foreign)) - {own, SHARED_SCHEMA})
    entered = [name for name in others if name in known and _enters(cursor, driver, name)]
    if entered:
        raise CheckFailed(f"role {role} can use {listed(entered)}, which is not its own", NEXT_STEP)
    refused = [name for name in others if name in known]
    return f"role {role} uses schema {own} ({plural(tables, 'table')}){shared} and is refused in {plural(len(refused), 'other schema')}"


def _use_own(cursor: Any, role: str, schema: str) -> int:
    """Return how many tables the role can read in its schema. Raises CheckFailed when it cannot use it, or may do too much there."""
    cursor.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (schema,))
    if not cursor.fetchone()[0]:
        raise CheckFailed(f"schema {schema} does not exist", NEXT_STEP)
    cursor.execute("SELECT has_schema_privilege(%s, 'USAGE'), has_schema_privilege(%s, 'CREATE')", (schema, schema))
    usage, create = cursor.fetchone()
    if not usage:
        raise CheckFailed(f"role {role} cannot use its own schema {schema}", NEXT_STEP)
    if create:
        raise CheckFailed(f"role {role} can create tables in schema {schema}, which only the owner role should", NEXT_STEP)
    cursor.execute(TABLES, (schema,))
    tables = [row[0] for row in cursor.fetchall()]
    for table in tables:
        cursor.execute(f"SELECT 1 FROM {_quoted(schema)}.{_quoted(table)} LIMIT 1")
    return len(tables)


def _shared(cursor: Any, role: str, own: str) -> str:
    """Return what the role sees of the tables that tenants share, as evidence. Raises CheckFailed when it is more than its own rows."""
    cursor.execute("SELECT has_schema_privilege(%s, 'USAGE'), has_schema_privilege(%s, 'CREATE')", (SHARED_SCHEMA, SHARED_SCHEMA))
    usage, create = cursor.fetchone()
    if create:
        raise CheckFailed(f"role {role} can create tables in schema {SHARED_SCHEMA}, which no tenant may", NEXT_STEP)
    if not usage:
        return ""
    if flaw := identity_flaw(cursor):
        raise CheckFailed(f"function {IDENTITY}() {flaw}", PLATFORM)
    flaws = shared_flaws(cursor, [SHARED_SCHEMA])
    cursor.execute(TABLES, (SHARED_SCHEMA,))
    seen = []
    for (table,) in cursor.fetchall():
        cursor.execute("SELECT has_table_privilege(format('%%I.%%I', %s::text, %s::text), 'SELECT')", (SHARED_SCHEMA, table))
        if not cursor.fetchone()[0]:
            continue
        cursor.execute(f"SELECT count(*) FROM {SHARED_SCHEMA}.{_quoted(table)} WHERE tenant <> %s", (own,))
        foreign = cursor.fetchone()[0]
        if foreign:
            what = f"role {role} reads {plural(foreign, 'row')} of other tenants in {SHARED_SCHEMA}.{table}"
            raise CheckFailed(what, PLATFORM)
        # Nothing was set for these counts; a policy that a setting opens shows nobody else's rows until a client sets it.
        if (SHARED_SCHEMA, table) in flaws:
            raise CheckFailed(f"role {role} reads {SHARED_SCHEMA}.{table}, which {flaws[SHARED_SCHEMA, table]}", PLATFORM)
        seen.append(f"{SHARED_SCHEMA}.{table}")
    return f", sees its own rows of {listed(seen)}" if seen else ""


def _enters(cursor: Any, driver: Any, schema: str) -> bool:
    """Return whether the role gets into a schema that is not its own: it reads a table, or could make or find one there."""
    cursor.execute("SELECT has_schema_privilege(%s, 'USAGE') OR has_schema_privilege(%s, 'CREATE')", (schema, schema))
    if cursor.fetchone()[0]:
        return True
    cursor.execute(TABLES, (schema,))
    for (table,) in cursor.fetchall():
        try:
            cursor.execute(f"SELECT 1 FROM {_quoted(schema)}.{_quoted(table)} LIMIT 1")
        except driver.errors.InsufficientPrivilege:
            continue
        return True
    return False


def _quoted(name: str) -> str:
    """Return an SQL identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'
