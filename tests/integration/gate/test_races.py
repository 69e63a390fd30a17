"""Two tenants are made or removed at once: their runs change the privileges of the same objects, and PostgreSQL refuses the one that comes second."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.integration.services import postgres
from tests.support import database_role
from tests.support.waiting import release_when

MADE, SCRATCH = "t_raced", "x_" + "0" * 20


@pytest.fixture
def other(pg: postgres.Server) -> Iterator[psycopg.Connection]:
    """A connection of another run, with a role of its own, another_tenant."""
    with psycopg.connect(pg.admin) as connection:
        connection.execute("CREATE ROLE another_tenant")
        connection.commit()
        yield connection
        connection.rollback()
        connection.execute("DROP OWNED BY another_tenant; DROP ROLE another_tenant")


@pytest.mark.parametrize(("schema", "task"), [(MADE, "main"), (MADE, "absent"), (SCRATCH, "scratch_absent")])
def test_the_one_that_comes_second_tries_again(pg: postgres.Server, other: psycopg.Connection, tmp_path: Path, schema: str, task: str) -> None:
    made = database_role.run(pg.port, tmp_path, schema, "inspect", "main", database_connection_limit=5)
    assert made.code == 0, made.output
    other.execute(f'REVOKE ALL ON DATABASE barberpro FROM "{schema}_app"')
    other.commit()
    # Not committed: whoever changes the same row waits, and is refused when it was changed.
    other.execute("GRANT CONNECT ON DATABASE barberpro TO another_tenant; GRANT USAGE ON SCHEMA shared TO another_tenant")
    with ThreadPoolExecutor() as pool:
        waited = pool.submit(release_when, partial(pg.waiting_for, other), other.commit)
        second = database_role.run(pg.port, tmp_path, schema, *(["inspect"] if task == "main" else []), task, database_connection_limit=5)
        assert waited.result(), f"nobody came second\n{second.output}"
    assert second.code == 0, second.output
    assert "FAILED - RETRYING" in second.output
    ((left,),) = other.execute("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, %s)", (schema,)).fetchall()
    assert left == (3 if task == "main" else 0)
