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
from ansible_collections.barberpro.platform.plugins.module_utils._sql import connect

SEALED = "bookings"
"""The table whose rows only the service can read: it holds the key."""
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


def _bookings(client: Client, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the bookings as the service reads them, customers in the clear. Raises PlatformError."""
    pod, send = admin_sender(client, str(options["namespace"]), str(options["selector"]), 9090, str(options["token_secret"]), EXPORT_TIMEOUT)
    answer = send("GET", "/admin/export", None)
    if answer.status != 200:
        raise PlatformError(f"the export of Pod {options['namespace']}/{pod}: HTTP {answer.status} {answer.text()!r}; nothing was removed, see its log")
    return [json.loads(line) for line in answer.body.splitlines() if line]


def _tables(database: Mapping[str, Any], schema: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the schema's tables but the bookings, as the role that ``database`` names. Raises PlatformError."""
    values = {key: str(database[key]) for key in ("host", "port", "user", "password", "sslmode")} | {"dbname": str(database["name"])}
    try:
        driver, connection = connect(values, database.get("ca_file"))
    except CheckFailed as error:
        raise PlatformError(f"{error.reason}; {error.next_step}") from error
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute(TABLES, (schema, [SEALED, *INTERNAL]))
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
    contents = _tables(options["database"], str(options["schema"]))
    contents[SEALED] = _bookings(client, options)
    try:
        files = write(Path(str(options["path"])), contents)
    except OSError as error:
        raise PlatformError(f"the export cannot be written to {options['path']}: {error.strerror}; nothing was removed, make room and run again") from error
    return {"changed": True, "files": files, "path": str(options["path"])}
