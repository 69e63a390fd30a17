"""Takes parts of this checkout's embedded cluster away for a moment."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from barberpro_cluster import supervisor
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout
from tests.support import cluster, sql
from tests.support.waiting import until

LAYOUT = Layout.of(cluster.ROOT)
API_SERVER_PORT = 6443
__all__ = ["ClusterError", "await_api_server", "await_database", "no_database", "packets_lost", "restart_api_server", "restart_database"]
_ONE_AT_A_TIME = threading.Lock()


def restart_api_server() -> None:
    """End kube-apiserver by SIGKILL; its supervisor starts it again."""
    with _ONE_AT_A_TIME:
        supervisor.control(LAYOUT, "signal", "KILL", "kube-apiserver")


def await_api_server(timeout: float = 120.0) -> None:
    """Wait until the API server is ready. Raises RuntimeError."""
    end = time.monotonic() + timeout
    while "ok" not in cluster.kubectl("get", "--raw", "/readyz", check=False):
        if time.monotonic() > end:
            raise RuntimeError(f"the API server is not ready after {timeout:g} s; see .embedded/logs/kube-apiserver.log")
        time.sleep(0.5)


def await_database() -> None:
    """Wait until PostgreSQL answers. Raises AssertionError."""
    until(lambda: sql.rows("SELECT 1"), "PostgreSQL to answer", despite=psycopg.OperationalError)


def restart_database() -> None:
    """End PostgreSQL's pod with one second of grace; its StatefulSet starts it again."""
    cluster.kubectl("delete", "pod", "postgresql-0", "-n", "barberpro-data", "--grace-period=1", "--wait=false")


@contextmanager
def no_database() -> Iterator[None]:
    """Have no PostgreSQL while the body runs; afterwards there is one that answers."""
    scale = ["scale", "statefulset", "postgresql", "-n", "barberpro-data"]
    cluster.kubectl(*scale, "--replicas=0")
    try:
        cluster.kubectl("delete", "pod", "postgresql-0", "-n", "barberpro-data", "--grace-period=1", "--ignore-not-found")
        yield
    finally:
        cluster.kubectl(*scale, "--replicas=1")
        cluster.kubectl("rollout", "status", "statefulset/postgresql", "-n", "barberpro-data", "--timeout=90s")


@contextmanager
def packets_lost(percent: int, name: str, port: int | None = None) -> Iterator[None]:
    """Drop that share of the packets between node and host, in each direction, while the body runs; ``port`` of the node narrows it to one.

    The kernel of a test machine may have no netem, so nftables draws the lots, in a table ``name`` of the node's own network namespace.
    """
    enter = ["nsenter", f"--net=/run/netns/{LAYOUT.namespace}", "nft"]
    lot = "drop" if percent >= 100 else f"numgen random mod 100 < {percent} drop"
    to, back = (f"tcp dport {port}", f"tcp sport {port}") if port else ("", "")
    rules = (
        f"table inet {name} {{\n"
        f"  chain in {{ type filter hook prerouting priority -300; iifname eth0 {to} {lot}; }}\n"
        f"  chain out {{ type filter hook postrouting priority 300; oifname eth0 {back} {lot}; }}\n"
        "}\n"
    )
    subprocess.run([*enter, "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "delete", "table", "inet", name], check=True)
