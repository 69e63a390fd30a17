"""Two tenants are made or removed at once: their runs change the privileges of the same objects, and PostgreSQL refuses the one that comes second."""

from __future__ import annotations

from pathlib import Path
from threading import Timer

import psycopg
import pytest

from tests.integration.services import postgres
from tests.support import database_role

MADE, SCRATCH = "t_raced", "x_" + "0" * 20


@pytest.mark.parametrize(("schema", "task"), [(MADE, "main"), (MADE, "absent"), (SCRATCH, "scratch_absent")])
def test_the_one_that_comes_second_tries_again(pg: postgres.Server, tmp_path: Path, schema: str, task: str) -> None:
    made = database_role.run(pg.port, tmp_path, schema, "inspect", "main", database_connection_limit=5)
    assert made.code == 0, made.output
    with psycopg.connect(pg.admin) as other:
        other.execute(f'DROP ROLE IF EXISTS another_tenant; CREATE ROLE another_tenant; REVOKE ALL ON DATABASE barberpro FROM "{schema}_app"')
        other.commit()
        # Not committed: whoever changes the same row waits, and is refused when it was changed.
        other.execute("GRANT CONNECT ON DATABASE barberpro TO another_tenant; GRANT USAGE ON SCHEMA shared TO another_tenant")
        timer = Timer(6, other.commit)
        timer.start()
        try:
            second = database_role.run(pg.port, tmp_path, schema, *(["inspect"] if task == "main" else []), task, database_connection_limit=5)
        finally:
            timer.join()
        assert second.code == 0, second.output
        assert "FAILED - RETRYING" in second.output, "nobody came second"
        ((left,),) = other.execute("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, %s)", (schema,)).fetchall()
        assert left == (3 if task == "main" else 0)
        other.execute("DROP OWNED BY another_tenant; DROP ROLE another_tenant")
