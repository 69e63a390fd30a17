"""The API server, the database and the network go away in mid-deploy: the deploy rides it out, or is undone wholly, and no customer is turned away."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, looks, outages, sql
from tests.support.customers import Customers
from tests.support.playbooks import Background, deploy

pytestmark = pytest.mark.cluster
NETWORK_SECONDS = 8.0


def shape(tenant: str) -> dict[str, str]:
    """Return all that a deploy writes in the tenant's namespace, with its specs, as it is of any revision and of any number of pods."""
    found = {}
    for name, text in looks.objects(tenant).items():
        item = json.loads(text)
        for key in ("uid", "ownerReferences", "finalizers"):
            item["metadata"].pop(key, None)
        spec = item.get("spec") or {}
        spec.get("hard", {}).pop("pods", None)
        if item["kind"] == "Job":  # its controller writes the uid of the Job into these
            spec.pop("selector")
            spec["template"]["metadata"].pop("labels")
        if item["kind"] == "Service":
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        if item["kind"] == "ServiceAccount":
            item.pop("secrets", None)
        found[re.sub(r"-r\d+\b", "-rN", name)] = re.sub(r"\br\d+\b", "rN", json.dumps(item, sort_keys=True))
    return found


def bookkeeping(tenant: str) -> dict[str, Any]:
    """Return whether the journal is closed, the lease free, and what a rehearsal would have left."""
    text = cluster.kubectl("get", "secret", f"journal-{tenant}", "-n", "barberpro-system", "-o", "go-template={{index .data.journal | base64decode}}")
    journal = json.loads(text)
    (lease,) = cluster.objects("lease", f"tenant-{tenant}", "-n", "barberpro-system")
    return {
        "closed": bool(journal["closed"]),
        "outcome": journal["outcome"],
        "holder": lease["spec"].get("holderIdentity"),
        "probes": cluster.objects("pods", "-n", f"tenant-{tenant}", "-l", "barberpro.platform/probe"),
        "scratch": sql.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'x!_%' ESCAPE '!'"),
    }


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
    before, rows = shape(palermo), sql.snapshot()
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
    assert bookkeeping(palermo) == {"closed": True, "outcome": "succeeded", "holder": None, "probes": [], "scratch": []}
    assert shape(palermo) == before
    assert sql.snapshot() == rows
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
    assert quota["spec"]["hard"]["pods"] == pods


def test_afterwards_the_inventory_is_what_it_was(palermo: str) -> None:
    run = deploy(palermo)
    assert run.code == 0, run.output
    (quota,) = cluster.objects("resourcequota", "-n", f"tenant-{palermo}")
    assert quota["spec"]["hard"]["pods"] == "30"
