# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves with a tenant: its data in open formats, each file with its checksum."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._access import admin_sender
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._sealed import sealed_tables
from ansible_collections.barberpro.platform.plugins.module_utils._sql import connect

INTERNAL = ("data_keys", "idempotency_keys", "migration_lock")
"""Tables that say nothing of the business: wrapped keys, fingerprints of requests, and what migrations lock."""
TABLES = """
SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename !~ '^alembic_version' AND NOT tablename = ANY(%s) ORDER BY 1
"""
USAGE = "SELECT day, measure, amount FROM shared.usage ORDER BY day, measure"
"""The tenant's rows of the ledger that all share; the server shows a role no others."""
EXPORT_TIMEOUT = 300.0


def lines_of(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as JSON lines, in UTF-8. Pure."""
    return b"".join(json.dumps(dict(row), default=str, ensure_ascii=False).encode() + b"\n" for row in rows)


def table_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV with a header, nested values as JSON. Pure."""
    text = io.StringIO()
    names = list(rows[0]) if rows else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = [row.get(name) for name in names]
        writer.writerow([json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, (dict, list)) else value for value in values])
    return text.getvalue().encode()


def refuse_sealed(contents: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raise PlatformError for a table that holds sealed values which no service says that it can open: a revision from before them was returned to."""
    for table, rows in contents.items():
        if any(name.endswith("_sealed") and value is not None for row in rows for name, value in row.items()):
            raise PlatformError(
                f"table {table} holds sealed values, and no service that runs says that it can open them; nothing was removed, run deploy_vertical.yml first, "
                f"with sealed_table: {table} in the workload that does"
            )


def _opened(client: Client, namespace: str, component: str) -> list[dict[str, Any]]:
    """Return the rows of a service's table as it reads them, customers in the clear. Raises PlatformError."""
    pod, send = admin_sender(client, namespace, f"app.kubernetes.io/component={component}", 9090, f"{component}-admin", EXPORT_TIMEOUT)
    answer = send("GET", "/admin/export", None)
    if answer.status != 200:
        hint = "its image is too old to export anything, run deploy_vertical.yml first" if answer.status == 404 else "see its log"
        raise PlatformError(f"the export of Pod {namespace}/{pod}: HTTP {answer.status} {answer.text()!r}; nothing was removed, {hint}")
    return [json.loads(line) for line in answer.body.splitlines() if line]


def _tables(database: Mapping[str, Any], schema: str, sealed: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the schema's tables but those that hold sealed values, as the role that ``database`` names. Raises PlatformError."""
    values = {key: str(database[key]) for key in ("host", "port", "user", "password", "sslmode")} | {"dbname": str(database["name"])}
    try:
        driver, connection = connect(values, database.get("ca_file"))
    except CheckFailed as error:
        raise PlatformError(f"{error.reason}; {error.next_step}") from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(TABLES, (schema, [*sealed, *INTERNAL]))
            found = {}
            for (name,) in cursor.fetchall():
                quoted = '"' + schema.replace('"', '""') + '"."' + str(name).replace('"', '""') + '"'
                cursor.execute(f"SELECT to_jsonb(t) FROM {quoted} t")
                found[str(name)] = [dict(row) for (row,) in cursor.fetchall()]
            cursor.execute(USAGE)
            found["usage"] = [dict(zip(("day", "measure", "amount"), row, strict=True)) for row in cursor.fetchall()]
            return found
    except driver.Error as error:
        raise PlatformError(f"schema {schema} cannot be exported: {str(error).strip().splitlines()[0]}; nothing was removed") from error
    finally:
        connection.close()


def write(path: Path, contents: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Write every table as NAME.jsonl and NAME.csv, and SHA256SUMS last; only the owner may read them. Returns files with rows and checksums."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    for name, rows in sorted(contents.items()):
        for kind, data in (("jsonl", lines_of(rows)), ("csv", table_of(rows))):
            _write(path / f"{name}.{kind}", data)
            files.append({"file": f"{name}.{kind}", "rows": len(rows), "sha256": hashlib.sha256(data).hexdigest()})
    _write(path / "SHA256SUMS", "".join(f"{item['sha256']}  {item['file']}\n" for item in files).encode())
    return files


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def export(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Export a tenant and return the module's result. Raises PlatformError."""
    if check_mode:
        return {"changed": True, "files": [], "path": str(options["path"])}
    namespace = str(options["namespace"])
    sealed = sealed_tables(client, namespace)
    contents = _tables(options["database"], str(options["schema"]), sealed)
    refuse_sealed(contents)
    contents |= {table: _opened(client, namespace, component) for table, component in sealed.items()}
    try:
        files = write(Path(str(options["path"])), contents)
    except OSError as error:
        raise PlatformError(f"the export cannot be written to {options['path']}: {error.strerror}; nothing was removed, make room and run again") from error
    return {"changed": True, "files": files, "path": str(options["path"])}
