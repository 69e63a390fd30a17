"""What the platform's own server writes to its log: the statement that takes long, the error; never a customer's name or number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.integration.services import postgres
from tests.support.cluster import ROOT
from tests.support.waiting import equal_to, until

CONFIGURATION = ROOT / "roles" / "platform" / "templates" / "postgresql" / "postgresql.conf.j2"
CANARY = "Canaria-Rossi"


@pytest.fixture
def log(pg: postgres.Server) -> Iterator[Path]:
    """The log of a server that logs by the platform's settings."""
    settings = re.findall(r"^(log_\w+) = '?([^'\n]*)'?$", CONFIGURATION.read_text(), re.MULTILINE)
    assert {"log_parameter_max_length", "log_parameter_max_length_on_error", "log_error_verbosity"} <= {name for name, _value in settings}
    change(pg, *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings))
    yield pg.folder / "log"
    change(pg, "ALTER SYSTEM RESET ALL")


def change(pg: postgres.Server, *statements: str) -> None:
    """Change the server's settings and return when who connects has them: the server reads them in its own time."""
    with psycopg.connect(pg.admin, autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement.encode())
        # Those of the file that ALTER SYSTEM writes, as a connection would have them.
        written = [name for (name,) in admin.execute("SELECT name FROM pg_file_settings WHERE sourcefile LIKE '%.auto.conf' ORDER BY 1")]
        admin.execute("SELECT pg_reload_conf()")
    until(partial(from_file, pg), "new connections to have the changed settings", good=equal_to(written))


def from_file(pg: postgres.Server) -> list[str]:
    """Return which settings a new connection has from the file that ALTER SYSTEM writes."""
    with psycopg.connect(pg.admin) as fresh:
        return [name for (name,) in fresh.execute("SELECT name FROM pg_settings WHERE sourcefile LIKE '%.auto.conf' ORDER BY 1")]


def test_no_value_of_a_row_or_a_statement_is_logged(pg: postgres.Server, tenant: postgres.Tenant, log: Path) -> None:
    app = {key: tenant.read("app", key) for key in ("host", "port", "dbname", "user", "password")}
    tenant.sql(f"SET ROLE {tenant.schema}_owner; CREATE TABLE {tenant.schema}.bookings (phone text PRIMARY KEY, price int CHECK (price > 0))")
    before = len(log.read_text())
    with psycopg.connect(**app, sslmode="disable", autocommit=True, options=f"-c search_path={tenant.schema}") as connection:
        # The client may ask for parameters of what fails.
        connection.execute("SET log_parameter_max_length_on_error = -1")
        connection.execute("INSERT INTO bookings VALUES (%s, 1)", (CANARY,))
        connection.execute("SELECT pg_sleep(1.1), count(*) FROM bookings WHERE phone = %s", (CANARY,))
        with pytest.raises(psycopg.errors.UniqueViolation, match=CANARY):
            connection.execute("INSERT INTO bookings VALUES (%s, 2)", (CANARY,))
        with pytest.raises(psycopg.errors.CheckViolation, match=CANARY):
            connection.execute("INSERT INTO bookings VALUES (%s, 0)", (f"{CANARY}-2",))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(f"INSERT INTO bookings VALUES ('{CANARY}', 2)".encode())
        with pytest.raises(psycopg.errors.UniqueViolation), connection.cursor().copy("COPY bookings FROM STDIN") as copy:
            copy.write_row((CANARY, 3))
    written = log.read_text()[before:]
    assert CANARY not in written
    who = f"{tenant.schema}_app@barberpro"
    assert re.search(rf"{who} LOG:  duration: \d{{4,}}\.\d+ ms .*SELECT pg_sleep\(1\.1\), count\(\*\) FROM bookings WHERE phone = \$1", written)
    assert written.count(f'{who} ERROR:  duplicate key value violates unique constraint "bookings_pkey"') == 3
    assert written.count(f'{who} ERROR:  new row for relation "bookings" violates check constraint "bookings_price_check"') == 1
