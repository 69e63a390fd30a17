# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each tenant's database roles may do with each other tenant's schema, read from PostgreSQL's own catalogue as an administrator.

The server itself judges (``has_schema_privilege`` knows memberships, owners and grants to everybody), in one statement for all pairs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._sql import IDENTITY, connect, identity_flaw, shared_flaws

ROLES = """
SELECT rolname, array_remove(ARRAY[
         CASE WHEN rolsuper THEN 'is a superuser' END, CASE WHEN rolbypassrls THEN 'passes row-level security by' END,
         CASE WHEN rolcreaterole THEN 'can create roles' END, CASE WHEN rolcreatedb THEN 'can create databases' END,
         CASE WHEN rolreplication THEN 'can replicate the whole server' END], NULL),
       ARRAY(SELECT g.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_' ORDER BY rolname
"""
SCHEMAS = """
SELECT r.rolname, n.nspname, p.usage, p.make
FROM pg_catalog.pg_roles r CROSS JOIN pg_catalog.pg_namespace n
CROSS JOIN LATERAL (SELECT has_schema_privilege(r.oid, n.oid, 'USAGE') AS usage, has_schema_privilege(r.oid, n.oid, 'CREATE') AS make) p
WHERE r.rolname = ANY(%s) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (p.usage OR p.make)
ORDER BY 1, 2
"""
# Grants on tables, views, sequences and their columns, beyond those of the owner, wherever they are; grantee 0 is PUBLIC.
GRANTS = """
SELECT n.nspname, c.relname, coalesce(r.rolname, 'PUBLIC'), array_agg(DISTINCT lower(a.privilege_type) ORDER BY lower(a.privilege_type))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT (aclexplode(c.relacl)).* UNION ALL
  SELECT (aclexplode(t.attacl)).* FROM pg_catalog.pg_attribute t WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (a.grantee = 0 OR r.rolname = ANY(%s)) AND a.grantee <> c.relowner
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Functions that everybody, or a tenant's role, may call and that act for somebody else; in a tenant's schema every one that is not its own.
# The one that tells rows of shared tables apart has a question of its own.
# The server makes constructors with every range type, as its own and whatever the default privileges say: they put a value together, no more.
FUNCTIONS = """
SELECT n.nspname, p.proname, coalesce(r.rolname, 'PUBLIC'), ARRAY['execute']
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (p.prosecdef OR n.nspname = ANY(%s))
  AND (a.grantee = 0 OR r.rolname = ANY(%s)) AND a.grantee <> p.proowner
  AND NOT (a.grantee <> 0 AND n.nspname || '.' || p.proname = %s AND p.pronargs = 0)
  AND NOT (p.prolang = (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'internal') AND p.prosrc ~ '^(multi)?range_constructor[0-3]$')
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
OWNERS = """
SELECT n.nspname, c.relname, r.rolname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE n.nspname !~ '^pg_' AND r.rolname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1, 2
"""
# Whose rows of shared tables a login sees is what it is known as. Roles are named by the schema of their tenant.
LOGINS_THERE = "SELECT to_regclass('platform.logins') IS NOT NULL"
LOGINS = """
SELECT role, tenant FROM platform.logins WHERE role NOT IN (tenant || '_app', tenant || '_app_b', tenant || '_ro') ORDER BY 1
"""
UNBOUND = frozenset({"truncate", "references", "trigger"})
"""Privileges on tables that row-level security does not bind (PostgreSQL's documentation, section Row Security Policies)."""
HERE = """
SELECT r.rolname, p.make, p.temporary FROM (SELECT 'public' AS rolname UNION ALL SELECT unnest(%s::text[])) r
CROSS JOIN LATERAL (SELECT has_database_privilege(r.rolname, current_database(), 'CREATE') AS make,
                           has_database_privilege(r.rolname, current_database(), 'TEMP') AS temporary) p
WHERE p.make OR p.temporary ORDER BY r.rolname <> 'public', r.rolname
"""
CONNECT = "SELECT has_database_privilege('public', current_database(), 'CONNECT')"
# The server's other databases to which everybody, or a tenant's role, may connect. What a role makes there no schema's privileges bound.
ELSEWHERE = """
SELECT d.datname, r.rolname FROM pg_catalog.pg_database d
CROSS JOIN LATERAL (
  SELECT 'public' AS rolname WHERE has_database_privilege('public', d.oid, 'CONNECT') UNION ALL
  SELECT asked FROM unnest(%s::text[]) asked
  WHERE NOT has_database_privilege('public', d.oid, 'CONNECT') AND has_database_privilege(asked, d.oid, 'CONNECT')) r
WHERE d.datallowconn AND d.datname <> current_database() ORDER BY 1, 2
"""


def schemas_of(secrets: Iterable[Mapping[str, Any]], tenants: Mapping[str, str]) -> dict[str, str]:
    """Return the tenant of each schema, from the Secrets with the credentials of the app roles; ``tenants`` maps namespaces to tenants."""
    found = {}
    for secret in secrets:
        namespace, data = secret["metadata"]["namespace"], secret.get("data") or {}
        if namespace in tenants and data.get("schema"):
            found[base64.b64decode(data["schema"]).decode()] = tenants[namespace]
    return found


def examine(database: Mapping[str, Any], schemas: Mapping[str, str], shared: Sequence[str]) -> dict[str, Any]:
    """Return what tenants' roles may do with others' schemas: ``roles``, ``schemas``, ``pairs`` (numbers) and ``findings``.

    ``database`` has host, port, name, user, password, sslmode and ca_file of an administrator; ``schemas`` maps schemas to tenants, and
    roles are those named SCHEMA_...; ``shared`` are schemas that all may use, whose tables keep their rows apart. Raises PlatformError when it cannot be asked.
    """
    values = {key: str(database[key]) for key in ("host", "port", "user", "password", "sslmode")} | {"dbname": str(database["name"])}
    try:
        driver, connection = connect(values, database.get("ca_file"))
    except CheckFailed as error:
        raise PlatformError(f"{error.reason}; {error.next_step}") from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            return _examine(cursor, schemas, shared)
    except driver.Error as error:
        where = f"database {values['dbname']} at {values['host']}:{values['port']}"
        raise PlatformError(f"{where}: role {values['user']}: {str(error).strip().splitlines()[0]}; use an administrator's credentials") from error


def _owner(role: str, schemas: Mapping[str, str]) -> str | None:
    """Return the tenant whose role this is: roles are named by their schema, t_12ab_app."""
    stem = role
    while "_" in stem:
        stem = stem.rpartition("_")[0]
        if stem in schemas:
            return schemas[stem]
    return None


def _examine(cursor: Any, schemas: Mapping[str, str], shared: Sequence[str]) -> dict[str, Any]:
    """Ask an open connection."""
    cursor.execute(ROLES)
    known = {str(name): (list(powers), [str(group) for group in groups]) for name, powers, groups in cursor.fetchall()}
    owners = {name: owner for name in known if (owner := _owner(name, schemas))}
    roles, names = sorted(owners), sorted(schemas)
    found: list[dict[str, Any]] = []

    def find(role: str, target: str | None, what: str) -> None:
        tenant = owners.get(role) or _owner(role, schemas)  # a role that only a table knows has a name too
        of = f" of tenant {tenant}" if tenant else ""
        at = f" of tenant {target}" if target else ""
        subject = f"role {role}{of}" if tenant else role
        found.append({"tenant": tenant, "role": role, "target": target, "sentence": f"{subject} {what}{at}"})

    cursor.execute(CONNECT)
    if cursor.fetchone()[0]:
        find("PUBLIC", None, "may connect to the tenants' database; revoke CONNECT from PUBLIC")
    _databases(cursor, roles, find)
    for role, (powers, groups) in ((role, known[role]) for role in roles):
        for what in [*powers, *(f"is a member of role {group}" for group in groups if owners.get(group) != owners[role])]:
            find(role, None, what)
    cursor.execute(SCHEMAS, (roles,))
    for role, schema, usage, make in cursor.fetchall():
        if schemas.get(schema) == owners[role] or (schema in shared and not make):
            continue
        find(role, schemas.get(schema), f"may {' and '.join([*(['use'] if usage else []), *(['create objects in'] if make else [])])} schema {schema}")
    if flaw := identity_flaw(cursor):
        find(f"function {IDENTITY}()", None, f"{flaw}; run that playbook again")
    cursor.execute(LOGINS_THERE)
    if cursor.fetchone()[0]:
        cursor.execute(LOGINS)
        for role, schema in cursor.fetchall():
            find(role, schemas.get(schema), f"is known in platform.logins as one of schema {schema}, and has the rows of shared tables")
    for schema, role, what in _rights(cursor, roles, names, shared):
        if schema not in schemas or owners.get(role) != schemas[schema]:
            find(role, schemas.get(schema), what)
    return {"roles": len(roles), "schemas": len(names), "pairs": len(roles) * max(0, len(names) - 1), "findings": found}


def _databases(cursor: Any, roles: Sequence[str], find: Callable[[str, str | None, str], None]) -> None:
    """Find rights on this database beyond connecting, and other databases that are open."""
    cursor.execute(HERE, (list(roles),))
    everybody: set[str] = set()
    for role, make, temporary in cursor.fetchall():
        if role == "public":
            everybody = {*(["make"] if make else []), *(["temporary"] if temporary else [])}
            if make:
                find("PUBLIC", None, "may create schemas in the tenants' database; revoke CREATE from PUBLIC")
            if temporary:
                find("PUBLIC", None, "may make temporary tables in the tenants' database; revoke TEMPORARY from PUBLIC")
            continue
        if make and "make" not in everybody:
            find(role, None, "may create schemas in the tenants' database")
        if temporary and "temporary" not in everybody:
            find(role, None, "may make temporary tables in the tenants' database")
    cursor.execute(ELSEWHERE, (list(roles),))
    for database, role in cursor.fetchall():
        if role == "public":
            statement = f"REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC"
            find("PUBLIC", None, f"may connect to database {database}, and so may every tenant's role; {statement}")
        else:
            find(role, None, f"may connect to database {database}")


def _rights(cursor: Any, roles: Sequence[str], names: Sequence[str], shared: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return schema, role and words of every right on a table or function, but those on shared tables that keep rows apart."""
    flaws = shared_flaws(cursor, shared)
    rights = []
    cursor.execute(GRANTS, (roles,))
    for schema, table, role, privileges in cursor.fetchall():
        what = f"may {', '.join(privileges)} {schema}.{table}"
        if schema not in shared:
            rights.append((schema, role, what))
        elif flaw := flaws.get((schema, table)):
            rights.append((schema, role, f"{what}, which {flaw}"))
        elif unbound := UNBOUND.intersection(privileges):
            rights.append((schema, role, f"may {', '.join(sorted(unbound))} {schema}.{table}, which row-level security does not bind"))
    cursor.execute(FUNCTIONS, (names, roles, IDENTITY))
    rights += [(schema, role, f"may {', '.join(privileges)} {schema}.{function}()") for schema, function, role, privileges in cursor.fetchall()]
    cursor.execute(OWNERS, (roles,))
    return rights + [(schema, role, f"owns {schema}.{table}") for schema, table, role in cursor.fetchall()]
