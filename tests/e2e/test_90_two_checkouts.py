"""Two checkouts on one machine: each has a cluster of its own, and neither notices the other come and go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster, outages
from tests.support.checkout import copy_of_tracked_files
from tests.support.customers import Customers

sys.path.insert(0, str(cluster.ROOT / "cluster"))

from barberpro_cluster import supervisor
from barberpro_cluster.layout import Layout

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


class Checkout:
    """Another checkout of what is tracked here, used with this one's environment."""

    def __init__(self, folder: Path) -> None:
        """Copy the tracked files."""
        self.folder = folder
        copy_of_tracked_files(folder)

    def run(self, action: str) -> str:
        """Do to its cluster what `make cluster`, `make cluster-status` and `make down` do."""
        command = [sys.executable, "-m", "barberpro_cluster", action]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "cluster")}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def facts(self) -> dict[str, Any]:
        """Return what its cluster says of itself."""
        found: dict[str, Any] = json.loads((self.folder / ".embedded" / "cluster.json").read_text())
        return found

    def kubectl(self, *arguments: str) -> str:
        """Ask its cluster."""
        facts = self.facts()
        return subprocess.run([facts["kubectl"], "--kubeconfig", facts["kubeconfig"], *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def other(facts: dict[str, Any], tmp_path: Path) -> Iterator[Checkout]:
    """The other checkout, whose cluster is gone afterwards."""
    made = Checkout(tmp_path / "other")
    yield made
    made.run("down")


def left_of(made: Checkout) -> dict[str, list[str]]:
    """Return what there is on the machine of a checkout's cluster, but for its network namespace."""
    layout = Layout.of(made.folder)
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {
        "links": [line for line in links.splitlines() if layout.veth in line],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(made.folder) in line],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").rglob(layout.cgroup)],
        "processes": [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if str(made.folder).encode() in _read(path)],
    }


def _read(path: Path) -> bytes:
    """Return the command line of a process, which may have ended by now."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def networks() -> set[str]:
    """Return the network namespaces of the clusters on this machine."""
    return {name for name in os.listdir("/run/netns") if name.startswith("barberpro-")}


@pytest.mark.alone
def test_a_second_checkout_has_a_cluster_of_its_own_and_takes_nothing_of_the_first(palermo: str, other: Checkout) -> None:
    before, first = networks(), supervisor.init_pid(outages.LAYOUT)
    versions = cluster.resource_versions(f"tenant-{palermo}")
    with Customers(palermo, pause=0.2) as customers:
        other.run("up")
        assert len(networks() - before) == 1
        there = left_of(other)
        assert there["links"]
        assert there["cgroups"]
        assert other.facts()["node_ip"] != cluster.facts()["node_ip"]
        assert other.kubectl("get", "nodes", "-o", "name") == "node/node-1\n"
        assert f"tenant-{palermo}" not in other.kubectl("get", "namespaces", "-o", "name")
        other.kubectl("create", "namespace", "only-there")
        assert not cluster.exists("namespace", "only-there")
        assert "11 of 11" in other.run("status")
        other.run("down")
    customers.assert_served()
    assert left_of(other) == {"links": [], "mounts": [], "cgroups": [], "processes": []}
    assert "barberpro" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert first is not None
    assert (networks(), supervisor.init_pid(outages.LAYOUT)) == (before, first)
    assert not (other.folder / ".embedded").exists()
    assert cluster.resource_versions(f"tenant-{palermo}") == versions
