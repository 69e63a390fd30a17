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


@pytest.mark.parametrize(
    ("task", "reason"), [("converge", "permission denied to create role"), ("connections", "permission denied"), ("login", "permission denied")]
)
def test_what_is_refused_for_good_is_said_at_once_and_no_verifier_is_shown(pg: postgres.Server, tmp_path: Path, task: str, reason: str) -> None:
    """An administrator who may not make roles; the statements hold the verifiers of passwords."""
    schema, user = f"t_refused_{task}", f"powerless_{task}"
    with psycopg.connect(pg.admin) as admin:
        admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'not-much'; GRANT CONNECT ON DATABASE barberpro TO {user}; CREATE ROLE {schema}_app LOGIN")
    login = {"database_admin_user": user, "database_admin_password": "not-much", "database_app_role": f"{schema}_app"}
    refused = database_role.run(pg.port, tmp_path, schema, task, database_connection_limit=4, **login)
    assert refused.code != 0
    assert "FAILED - RETRYING" not in refused.output
    assert f"PostgreSQL at 127.0.0.1:{pg.port} refused what database_admin_user {user} asked of it for schema {schema}: {reason}" in refused.words()
    assert "has not come back" not in refused.words()
    assert [word for word in ("SCRAM", "CREATE ROLE") if word in refused.output] == []
