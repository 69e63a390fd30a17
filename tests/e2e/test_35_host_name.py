"""A tenant moves to another host name and back: by a deploy, by a roll back, and by the way back of a deploy that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cluster, looks
from tests.support.cluster import ELSEWHERE
from tests.support.customers import Customers
from tests.support.playbooks import Run, deploy_new, play, remove
from tests.support.turns import turn

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _name_is_free(facts: dict[str, Any]) -> Iterator[None]:
    """The zone keeps the record of a name that a tenant has left; it goes by hand."""
    with turn():
        remove(ELSEWHERE)
    yield
    with turn():
        remove(ELSEWHERE)


def move(tenant: str, **extra: Any) -> Run:
    """Deploy the tenant under another host."""
    return deploy_new(tenant, extra={"tenant_host": cluster.host_of(ELSEWHERE), **extra})


def claimed(tenant: str) -> list[str]:
    """Return the host names that the tenant has."""
    found = cluster.objects("configmaps", "-n", "barberpro-system", "-l", f"barberpro.platform/claim=host,barberpro.platform/tenant={tenant}")
    return sorted(item["data"]["host"] for item in found)


def at_home(tenant: str, before: dict[str, str]) -> None:
    """The tenant is where it was: all its objects, its claim, and who is answered; the other name leads nowhere."""
    assert looks.difference(before, looks.objects(tenant)) == {}
    assert claimed(tenant) == [cluster.host_of(tenant)]
    assert (cluster.ask(tenant).status, cluster.ask(ELSEWHERE).status) == (200, 404)


def test_a_deploy_that_fails_beside_the_old_host_leaves_it_to_the_customers(boedo: str) -> None:
    before = looks.objects(boedo)
    with Customers(boedo) as customers:
        run = move(boedo, pipeline_stage_budget_seconds={"testing": 0.01})
    assert run.code != 0
    assert run.report["stages"][-1]["name"] == "testing", run.output
    assert run.report["result"] == "rolled_back", run.output
    customers.assert_served()
    at_home(boedo, before)
    assert looks.rcode(cluster.host_of(ELSEWHERE)) == "NXDOMAIN"


def test_a_deploy_that_fails_after_promotion_returns_to_the_old_host(boedo: str) -> None:
    before = looks.objects(boedo)
    run = move(boedo, pipeline_stage_budget_seconds={"monitoring": 0.01})
    assert run.code != 0
    assert run.report["stages"][-1]["name"] == "monitoring", run.output
    assert run.report["result"] == "rolled_back", run.output
    at_home(boedo, before)
    assert f"DNS: record of {cluster.host_of(ELSEWHERE)} as before" in run.report["undone"]
    assert looks.rcode(cluster.host_of(ELSEWHERE)) == "NXDOMAIN"


def test_a_tenant_moves_to_another_host_and_a_roll_back_returns(boedo: str) -> None:
    home = int(cluster.ask(boedo).headers["x-barberpro-revision"].removeprefix("r"))
    planned = move(boedo, plan_only=True)
    assert planned.code == 0, planned.output
    assert f"~ HTTPRoute tenant-{boedo}/main" in planned.words()
    run = move(boedo)
    assert run.code == 0, run.output
    assert (cluster.ask(ELSEWHERE).status, cluster.ask(boedo).status) == (200, 404)
    assert claimed(boedo) == [cluster.host_of(ELSEWHERE)]
    assert looks.rcode(cluster.host_of(ELSEWHERE)) == "NOERROR"
    again = move(boedo)
    assert again.code == 0, again.output
    assert again.report["result"] == "unchanged", again.output

    back = play("rollback_vertical.yml", tenant=boedo, extra={"tenant_name": boedo, "to_revision": home})
    assert back.code == 0, back.output
    assert claimed(boedo) == [cluster.host_of(boedo)]
    assert (cluster.ask(boedo).status, cluster.ask(ELSEWHERE).status) == (200, 404)
    assert deploy_new(boedo).code == 0
