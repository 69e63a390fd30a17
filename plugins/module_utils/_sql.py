# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to PostgreSQL, and the questions that are asked of it."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed

CONNECT_TIMEOUT = 10  # seconds
SHARED_SCHEMA = "shared"
"""The schema whose tables tenants share; row-level security gives each the rows whose column ``tenant`` names its own schema."""
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
