"""The API server, the database and the network go away in mid-deploy: the deploy rides it out, or is undone wholly, and no customer is turned away."""

from __future__ import annotations

import itertools
import os
import re
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support import cluster, looks, outages, sql
from tests.support.customers import Customers
from tests.support.journals import at_write
from tests.support.playbooks import Background, deploy
from tests.support.waiting import equal_to, until

# With all writes, each adds half a minute.
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(7200)]
NETWORK_SECONDS = 8.0
# A deploy takes half a minute and writes its journal about ten times, so that `make test SLOW=1` tries some writes, and `make crash-deploys` all.
STRIDE = int(os.environ.get("BARBERPRO_CRASH_STRIDE", "4"))


def cut_the_network() -> None:
    """Let nothing pass between the runner and the API server for a while; customers go another way."""
    with outages.packets_lost(100, "barberpro_cut", outages.API_SERVER_PORT):
        time.sleep(NETWORK_SECONDS)


def cpu_in_use(tenant: str) -> str:
    """Return what of its CPU a tenant's quota counts as used."""
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{tenant}")
    return str(quota["status"]["used"]["limits.cpu"])


OUTAGES = {"api-server": outages.restart_api_server, "database": outages.restart_database, "network": cut_the_network}
PODS = ("21", "22")
"""The quota's pods of one deploy and of the next, so that each is a new revision."""


@pytest.mark.parametrize("what", OUTAGES)
def test_an_outage_at_a_write_of_the_journal_leaves_what_a_quiet_deploy_leaves(palermo: str, tmp_path: Path, what: str) -> None:
    """After later and later writes, until a deploy has fewer; the last one is a quiet one."""
    before, rows, in_use = looks.shape(palermo), sql.snapshot(), cpu_in_use(palermo)
    for turn, after in enumerate(itertools.count(1, STRIDE)):
        changed = {"quota_overrides": {"pods": PODS[turn % 2]}}
        # As an operator finds a tenant: the pods of the revision before have gone, and the quota, which an outage makes late, has their room back.
        until(partial(cpu_in_use, palermo), "the room of pods that have gone", good=equal_to(in_use))
        with Customers(palermo) as customers:
            with (
                Background("deploy_vertical.yml", "--limit", palermo, log=tmp_path / f"{what}-{after}.log", extra=changed) as run,
                at_write(palermo, after, OUTAGES[what]) as reached,
            ):
                code = run.process.wait(timeout=300)
            outages.await_api_server()
            outages.await_database()
        text = f"{what} at write {after}:\n{run.log.read_text()}"
        # Without a database nobody is served.
        if what != "database":
            customers.assert_served()
            assert len(customers.revisions) <= 2, customers.revisions
        assert code == 0, text
        assert looks.bookkeeping(palermo) == {"closed": True, "outcome": "succeeded", "holder": None, "probes": [], "scratch": []}, text
        assert looks.shape(palermo) == before, text
        assert sql.snapshot() == rows, text
        (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
        assert quota["spec"]["hard"]["pods"] == PODS[turn % 2]
        if not reached.is_set():
            break
    assert turn > 1, "no deploy wrote its journal more than once"


def test_afterwards_the_inventory_is_what_it_was(palermo: str) -> None:
    run = deploy(palermo)
    assert run.code == 0, run.output
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
    assert quota["spec"]["hard"]["pods"] == "30"


def test_a_database_that_does_not_come_back_is_said_and_the_next_run_converges(palermo: str, tmp_path: Path) -> None:
    before, rows = looks.shape(palermo), sql.snapshot()
    changed = {"quota_overrides": {"pods": "25"}, "pipeline_wait_timeout": 10}
    with Background("deploy_vertical.yml", "--limit", palermo, log=tmp_path / "run.log", extra=changed) as run:
        run.wait_for("Converge the tenant's namespace, quota, access rules and network policies")
        with outages.no_database():
            code = run.process.wait(timeout=300)
    said = " ".join(run.log.read_text().split())
    assert code != 0
    assert f"stage infrastructure failed: PostgreSQL at {cluster.facts()['node_ip']}:30432 is away (" in said
    assert ": Connection refused) and has not come back within a minute; see that the server runs, then run again. " in said
    # Without a database no revision is ready, so that nobody knows whether the old one serves.
    assert re.search(r"NOT undone: objects: Deployment tenant-\S+ is not ready after \d+ s: .*; run again, which undoes that first\.", said)
    assert looks.bookkeeping(palermo)["closed"] is False
    again = deploy(palermo)
    assert again.code == 0, again.output
    assert looks.bookkeeping(palermo) == {"closed": True, "outcome": "undone", "holder": None, "probes": [], "scratch": []}
    assert looks.shape(palermo) == before
    assert sql.snapshot() == rows
