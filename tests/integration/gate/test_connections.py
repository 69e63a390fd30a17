"""The connections that a tenant's role may hold: those of its tier, and no more than the server has, seen by the role's own tasks on a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.integration.services import postgres
from tests.support import database_role
from tests.support.cluster import ROOT
from tests.support.waiting import release_when

TIERS = yaml.safe_load((ROOT / "roles" / "vertical_base" / "defaults" / "main.yml").read_text())["vertical_base_tiers"]
PIPELINE = yaml.safe_load((ROOT / "roles" / "pipeline" / "vars" / "main.yml").read_text())
SUPERUSERS = 3


def limit_of(tier: str) -> int:
    """Return what the pipeline tells the role."""
    values = {"vertical_base_tiers": TIERS, "pipeline_tier": tier}
    return int(database_role.render(PIPELINE["__pipeline_connections"], **values))


def held(pg: postgres.Server, schema: str) -> tuple[int, int]:
    """Return what the tenant's app role may hold, and all other tenants' together."""
    with psycopg.connect(pg.admin) as admin:
        ((own, others),) = admin.execute(
            "SELECT coalesce(sum(rolconnlimit) FILTER (WHERE rolname = %s), 0), coalesce(sum(rolconnlimit) FILTER (WHERE rolname <> %s), 0) "
            "FROM pg_roles WHERE rolname LIKE 't!_%%!_app' ESCAPE '!'",
            (f"{schema}_app", f"{schema}_app"),
        ).fetchall()
    return int(own), int(others)


def test_each_tier_has_what_its_poolers_may_open() -> None:
    """However many poolers divide a tier's connections among themselves: each rounds up, and a run's checks need some too."""
    for tier, table in TIERS.items():
        for replicas in range(1, 6):
            assert -(-table["connections"] // replicas) * replicas + 5 <= limit_of(tier), (tier, replicas)
    assert limit_of("enterprise") > 240


def test_a_tier_is_brought_into_force_and_too_large_a_one_is_refused(pg: postgres.Server, tmp_path: Path) -> None:
    schema, limit = "t_connections", limit_of("large")
    others = held(pg, schema)[1]
    # What is left to promise is one connection too few for the tier.
    kept = postgres.CONNECTIONS - SUPERUSERS - others - (limit - 1)
    refused = database_role.run(pg.port, tmp_path, schema, "room", "main", database_connection_limit=limit, database_connections_kept=kept)
    assert refused.code != 0
    assert (
        f"database_connection_limit: role {schema}_app is to hold {limit} connections (it may hold 0 now), and PostgreSQL at 127.0.0.1:{pg.port} has "
        f"{limit - 1} left to promise: max_connections is 120, {kept + SUPERUSERS} are kept for administrators, migrations, backups and exports, "
        f"other tenants' roles may hold {others}. Nothing was changed. Raise max_connections"
    ) in refused.words()
    assert held(pg, schema) == (0, others)
    taken = database_role.run(pg.port, tmp_path, schema, "room", "main", database_connection_limit=limit, database_connections_kept=kept - 1)
    assert taken.code == 0, taken.output
    assert held(pg, schema) == (limit, others)
    # Who is there already goes on, and down, when there is less than there was.
    for tier in ("large", "small"):
        less = {"database_connection_limit": limit_of(tier), "database_connections_kept": kept + 50}
        again = database_role.run(pg.port, tmp_path, schema, "room", "main", **less)
        assert again.code == 0, again.output
        assert held(pg, schema)[0] == limit_of(tier)


def test_less_is_given_when_no_more_is_open(pg: postgres.Server, tmp_path: Path) -> None:
    schema = "t_fewer"
    assert database_role.run(pg.port, tmp_path, schema, "inspect", "main", database_connection_limit=6).code == 0
    rotated = database_role.run(pg.port, tmp_path, schema, "login", database_app_role=f"{schema}_app_b")
    assert rotated.code == 0, rotated.output
    login = f"host=127.0.0.1 port={pg.port} user={schema}_app password=a dbname=barberpro"
    leaving = [psycopg.connect(login) for _number in range(3)]
    limits: list[list[tuple[str, int]]] = []

    def read() -> None:
        with psycopg.connect(pg.admin) as admin:
            limits.append(admin.execute("SELECT rolname, rolconnlimit FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY 1", (schema,)).fetchall())

    def leave() -> None:
        read()
        for connection in leaving:
            connection.close()

    with ThreadPoolExecutor() as pool:
        waited = pool.submit(release_when, partial(asleep, pg, f"'{schema}_app'"), leave)
        less = database_role.run(pg.port, tmp_path, schema, "connections", "held", database_connection_limit=2)
        assert waited.result(), f"three connections are open, and two are to be allowed\n{less.output}"
    assert less.code == 0, less.output
    read()
    assert limits == [
        [(f"{schema}_app", before), (f"{schema}_app_b", before), (f"{schema}_owner", 5), (f"{schema}_ro", 2)] for before in (6, 2)
    ]


def asleep(pg: postgres.Server, said: str) -> bool:
    """Say whether a statement with these words in it lets time pass."""
    with psycopg.connect(pg.admin) as admin:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND strpos(query, %s) > 0"
        return admin.execute(asked, (said,)).fetchall() != [(0,)]


@pytest.mark.parametrize(("overcommit", "code"), [(1.0, 2), (1000.0, 0)])
def test_connections_can_be_promised_more_than_once(pg: postgres.Server, tmp_path: Path, overcommit: float, code: int) -> None:
    promised = {"database_connection_limit": 118, "database_connection_overcommit": overcommit}
    found = database_role.run(pg.port, tmp_path, "t_more_than_once", "room", **promised)
    assert found.code == code, found.output
