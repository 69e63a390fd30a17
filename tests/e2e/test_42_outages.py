"""The API server, the database and the network go away in mid-deploy: the deploy rides it out, or is undone wholly, and no customer is turned away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import cluster, looks, outages, sql
from tests.support.customers import Customers
from tests.support.playbooks import Background, deploy

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
NETWORK_SECONDS = 8.0


def cut_the_network() -> None:
    """Let nothing pass between the runner and the API server for a while; customers go another way."""
    with outages.packets_lost(100, "barberpro_cut", outages.API_SERVER_PORT):
        time.sleep(NETWORK_SECONDS)


# What goes away, in which task, how many pods the quota of that deploy has (so that each is a new revision), and whether customers need it.
OUTAGES = [
    ("Bring the new revision up beside the old", outages.restart_api_server, "21", False),
    ("Converge the tenant's namespace, quota, access rules and network policies", outages.restart_database, "22", True),
    ("Read the certificate in force", cut_the_network, "24", False),
]


@pytest.mark.alone
@pytest.mark.parametrize(("task", "go", "pods", "serves"), OUTAGES, ids=["api-server", "database", "network"])
def test_an_outage_in_mid_deploy_leaves_what_a_quiet_deploy_leaves(
    palermo: str, tmp_path: Path, task: str, go: Callable[[], None], pods: str, serves: bool,
) -> None:
    before, rows = looks.shape(palermo), sql.snapshot()
    changed = {"quota_overrides": {"pods": pods}}
    with Customers(palermo) as customers:
        with Background("deploy_vertical.yml", "--limit", palermo, log=tmp_path / "run.log", extra=changed) as run:
            run.wait_for(task)
            go()
            code = run.process.wait(timeout=300)
        outages.await_api_server()
    text = run.log.read_text()
    if not serves:
        customers.assert_served()
        assert len(customers.revisions) <= 2, customers.revisions
    assert code == 0, text
    assert looks.bookkeeping(palermo) == {"closed": True, "outcome": "succeeded", "holder": None, "probes": [], "scratch": []}
    assert looks.shape(palermo) == before
    assert sql.snapshot() == rows
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
    assert quota["spec"]["hard"]["pods"] == pods


def test_afterwards_the_inventory_is_what_it_was(palermo: str) -> None:
    run = deploy(palermo)
    assert run.code == 0, run.output
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
    assert quota["spec"]["hard"]["pods"] == "30"


@pytest.mark.alone
def test_a_database_that_does_not_come_back_is_said_and_the_next_run_converges(palermo: str, tmp_path: Path) -> None:
    before, rows = looks.shape(palermo), sql.snapshot()
    changed = {"quota_overrides": {"pods": "25"}, "pipeline_wait_timeout": 10}
    with Background("deploy_vertical.yml", "--limit", palermo, log=tmp_path / "run.log", extra=changed) as run:
        run.wait_for(OUTAGES[1][0])
        with outages.no_database():
            code = run.process.wait(timeout=300)
    said = " ".join(run.log.read_text().split())
    assert code != 0
    assert f"stage infrastructure failed: PostgreSQL at {cluster.facts()['node_ip']}:30432 is away (" in said
    assert ": Connection refused) and has not come back within a minute; see that the server runs, then run again. " in said
    # Without a database no revision is ready, so that nobody knows whether the old one serves.
    assert re.search(r"NOT undone: objects: Deployment tenant-\S+ is not ready after 10 s: .*; run again, which undoes that first\.", said)
    assert looks.bookkeeping(palermo)["closed"] is False
    again = deploy(palermo)
    assert again.code == 0, again.output
    assert looks.bookkeeping(palermo) == {"closed": True, "outcome": "undone", "holder": None, "probes": [], "scratch": []}
    assert looks.shape(palermo) == before
    assert sql.snapshot() == rows
