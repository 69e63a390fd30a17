"""The tier's limits and the shared table's rows, tried from inside a tenant's pod with its credentials: too much is refused, the neighbour goes on."""

from __future__ import annotations

import base64
import json
from typing import Any

import psycopg
import pytest
import yaml

from tests.e2e.test_50_tenants import pod_of, probe
from tests.support import cluster, sql
from tests.support.customers import Customers
from tests.support.playbooks import play
from tests.support.waiting import until

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]
SMALL: dict[str, Any] = yaml.safe_load((cluster.ROOT / "roles/vertical_base/defaults/main.yml").read_text())["vertical_base_tiers"]["small"]

PRELUDE = """
import asyncio, asyncpg, json, pathlib, ssl, time
folder = pathlib.Path("/etc/barberpro/database")
values = {name: (folder / name).read_text().strip() for name in ("host", "port", "dbname", "user", "password", "schema")}
context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
def connect(**more):
    return asyncpg.connect(host=values["host"], port=int(values["port"]), database=values["dbname"], user=values["user"], password=values["password"],
                           timeout=20, **{"ssl": context, **more})
async def seconds_of(doing):
    begun = time.monotonic()
    try:
        await doing
        said = "done"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return {"seconds": round(time.monotonic() - begun, 1), "said": said}
"""
MANY = """
async def main():
    held, said = [], "none"
    try:
        while len(held) < 200:
            connection = await connect()
            held.append(connection)
            await connection.execute("SELECT 1")
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps({"held": len(held), "said": said}), flush=True)
    await asyncio.sleep(3)
asyncio.run(main())
"""
LONG = """
async def long():
    connection = await connect()
    await connection.execute("SET statement_timeout = 0")
    return await seconds_of(connection.execute("SELECT pg_sleep(120)"))
async def idle():
    connection = await connect()
    await connection.execute("SET idle_in_transaction_session_timeout = 0")
    await connection.execute("BEGIN")
    async def wait():
        while True:
            await asyncio.sleep(1)
            if connection.is_closed():
                raise ConnectionError("closed")
    return await seconds_of(asyncio.wait_for(wait(), 120))
async def main():
    print(json.dumps(await asyncio.gather(long(), idle())))
asyncio.run(main())
"""
TLS = """
async def main():
    stranger = ssl.create_default_context()
    print(json.dumps([await seconds_of(connect(ssl=False)), await seconds_of(connect(ssl=stranger))]))
asyncio.run(main())
"""
LEDGER = """
async def main():
    connection = await connect()
    own = "INSERT INTO shared.usage (day, measure, amount) VALUES ('2026-11-01', 'tries', 3) ON CONFLICT (tenant, day, measure) DO NOTHING"
    foreign = "INSERT INTO shared.usage (tenant, day, measure, amount) VALUES ('t_other', '2026-11-01', 'tries', 3)"
    said = [await seconds_of(connection.execute(statement)) for statement in (own, foreign)]
    seen = await connection.fetch("SELECT DISTINCT tenant = $1 AS own FROM shared.usage", values["schema"])
    print(json.dumps({"said": [item["said"] for item in said], "seen": [row["own"] for row in seen]}))
asyncio.run(main())
"""


def inside(tenant: str, script: str) -> Any:
    """Run a script in the tenant's booking pod, and return what it says."""
    output = cluster.kubectl("exec", "-n", f"tenant-{tenant}", pod_of(tenant, "booking"), "--", "python", "-c", PRELUDE + script)
    return json.loads(output)


def test_services_reach_the_pooler_of_their_tier_and_no_other_way(caballito: str) -> None:
    assert [item["actual"] for item in probe(caballito, "booking", "--open", "pooler-small.barberpro-data.svc:6432")] == ["open"]
    closed = ["pooler-medium.barberpro-data.svc:6432", "pooler-enterprise.barberpro-data.svc:6432", "postgresql.barberpro-data.svc:5432"]
    found = probe(caballito, "booking", *[word for target in closed for word in ("--closed", target)])
    assert [item["actual"] for item in found] == ["closed"] * 3


@pytest.mark.parametrize("secret", ["booking-database", "booking-database-owner", "booking-database-readonly"])
def test_no_other_database_of_the_server_takes_a_tenants_role(caballito: str, secret: str) -> None:
    """Tried from where the administrator connects; the server itself asks a tenant's role for no password there, and has taken everybody's right away."""
    data = cluster.objects("secret", secret, "-n", f"tenant-{caballito}")[0]["data"]
    login = {key: base64.b64decode(data[key]).decode() for key in ("user", "password")}
    sql.as_login(login).close()
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match=f'no pg_hba.conf entry for host .*, user "{login["user"]}", database "{database}"'):
            sql.as_login(login, database)
    open_to_all = "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege('public', oid, 'CONNECT, TEMP')"
    assert sql.rows(open_to_all) == []


def test_too_many_connections_are_refused_and_the_neighbour_goes_on(caballito: str, boedo: str) -> None:
    with Customers(boedo, "/api/v1/business") as customers:
        found = inside(caballito, MANY)
    assert "query_wait_timeout" in found["said"], found
    # Its own services hold some of them.
    assert SMALL["connections"] - 20 <= found["held"] <= SMALL["connections"] + 1, found
    customers.assert_served()
    assert cluster.ask(caballito, "/api/v1/business").status == 200


def test_a_statement_and_a_transaction_end_in_time_whatever_the_client_sets(caballito: str) -> None:
    long, idle = inside(caballito, LONG)
    assert "query timeout" in long["said"], long
    assert SMALL["statement_seconds"] <= long["seconds"] < SMALL["statement_seconds"] + 10
    assert idle["said"] == "ConnectionError: closed"
    assert SMALL["idle_transaction_seconds"] - 1 <= idle["seconds"] < SMALL["idle_transaction_seconds"] + 10


def test_the_way_is_encrypted_and_the_certificate_looked_at(caballito: str) -> None:
    plain, stranger = inside(caballito, TLS)
    assert "SSL required" in plain["said"], plain
    assert "CERTIFICATE_VERIFY_FAILED" in stranger["said"], stranger
    # From the poolers to the server it is too.
    rows = sql.rows("SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'booking r%'")
    assert rows[0][0] is True
    assert rows[0][1] >= 1


def test_each_sees_its_own_rows_of_what_tenants_share(caballito: str, boedo: str) -> None:
    for tenant in (caballito, boedo):
        found = inside(tenant, LEDGER)
        assert found["said"][0] == "done"
        assert "violates row-level security policy" in found["said"][1]
        assert found["seen"] == [True]
    # The platform sees all of them.
    run = play("usage.yml", extra={"usage_months": 120})
    assert run.code == 0, run.output
    lines = [line.split()[-4:] for line in run.output.splitlines()]
    assert [tenant for tenant in (caballito, boedo) if [tenant, "2026-11", "tries", "3"] in lines] == [caballito, boedo]
    refused = play("usage.yml", extra={"tenant_name": "barbershop-nowhere"})
    assert refused.code != 0
    assert "There is no tenant barbershop-nowhere on this cluster; status.yml lists those that there are." in refused.words()


def test_a_pooler_is_replaced_without_a_failed_request(caballito: str) -> None:
    where = ("-n", "barberpro-data", "-l", "barberpro.platform/pooler=small")
    before = {pod["metadata"]["name"] for pod in cluster.objects("pods", *where)}
    with Customers(caballito, "/api/v1/business", pause=0.1) as customers:
        cluster.kubectl("rollout", "restart", "deployment/pooler-small", "-n", "barberpro-data")

        def still_there() -> set[str]:
            return before & {pod["metadata"]["name"] for pod in cluster.objects("pods", *where)}

        until(still_there, "the pods before to go", 240, good=lambda found: not found, pause=2)
    customers.assert_served()
