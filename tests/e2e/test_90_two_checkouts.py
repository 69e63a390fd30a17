"""Two checkouts on one machine: each has a cluster of its own, and neither notices the other come and go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barberpro_cluster import supervisor
from tests.support import cluster, outages
from tests.support.checkout import NOTHING_LEFT, Checkout
from tests.support.customers import Customers

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def other(facts: dict[str, Any], tmp_path: Path) -> Iterator[Checkout]:
    """The other checkout, whose cluster is gone afterwards."""
    made = Checkout(tmp_path / "other")
    yield made
    made.make("down")


def networks() -> set[str]:
    """Return the network namespaces of the clusters on this machine."""
    return {name for name in os.listdir("/run/netns") if name.startswith("barberpro-")}


@pytest.mark.alone
def test_a_second_checkout_has_a_cluster_of_its_own_and_takes_nothing_of_the_first(palermo: str, other: Checkout) -> None:
    before, first = networks(), supervisor.init_pid(outages.LAYOUT)
    versions = cluster.resource_versions(f"tenant-{palermo}")
    with Customers(palermo, pause=0.2) as customers:
        other.make("cluster")
        assert len(networks() - before) == 1
        there = other.left()
        assert there["network"]
        assert there["links"]
        assert there["cgroups"]
        assert there["processes"]
        assert other.facts()["node_ip"] != cluster.facts()["node_ip"]
        assert other.kubectl("get", "nodes", "-o", "name") == "node/node-1\n"
        assert f"tenant-{palermo}" not in other.kubectl("get", "namespaces", "-o", "name")
        other.kubectl("create", "namespace", "only-there")
        assert not cluster.exists("namespace", "only-there")
        assert "11 of 11" in other.make("cluster-status")
        other.make("down")
    customers.assert_served()
    assert other.left() == NOTHING_LEFT
    assert "barberpro" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert first is not None
    assert (networks(), supervisor.init_pid(outages.LAYOUT)) == (before, first)
    assert cluster.resource_versions(f"tenant-{palermo}") == versions
