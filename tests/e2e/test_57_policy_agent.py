"""The policy agent of the embedded cluster is killed again and again, and nobody gets through, and nobody is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from barberpro_cluster.layout import Layout
from tests.support import cluster
from tests.support.waiting import until

from .test_50_tenants import address_of, pod_of, service_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KILLS = 3
LEAST = 20 * KILLS
# Both are tried without a pause from inside a pod until a file says enough, and often enough: what must stay closed, and what must stay open.
LOOP = """
import json, os, socket, threading, time
def attempt(target, seconds):
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
        return True
    except OSError:
        return False
counts = {"closed_tried": 0, "closed_reached": 0, "open_tried": 0, "open_refused": 0}
lock = threading.Lock()
def loop(target, kind, seconds, counted, when):
    while counts[kind + "_tried"] <= LEAST or not os.path.exists("/tmp/enough"):
        reached = attempt(target, seconds)
        with lock:
            counts[kind + "_tried"] += 1
            counts[counted] += reached is when
        if kind == "open":
            time.sleep(0.02)
threads = [threading.Thread(target=loop, args=(CLOSED, "closed", 0.3, "closed_reached", True)) for _ in range(8)]
threads += [threading.Thread(target=loop, args=(OPEN, "open", 5.0, "open_refused", False)) for _ in range(2)]
print("ready", flush=True)
for thread in threads: thread.start()
for thread in threads: thread.join()
os.remove("/tmp/enough")
print(json.dumps(counts), flush=True)
"""

# The rules are those of IPv4. A pod that has IPv6 knows its gateway's link-local address: it is made of the hardware address.
LINK_LOCAL = """
import json, pathlib, socket
has = pathlib.Path("/proc/net/if_inet6")
mine = [line.split()[0] for line in has.read_text().splitlines() if line.endswith("eth0")] if has.exists() else []
(mac,) = {line.split()[3] for line in pathlib.Path("/proc/net/arp").read_text().splitlines()[1:]}
parts = [int(part, 16) for part in mac.split(":")]
parts[0] ^= 2
suffix = parts[:3] + [0xff, 0xfe] + parts[3:]
gateway = "fe80::" + ":".join(f"{suffix[i] << 8 | suffix[i + 1]:x}" for i in range(0, 8, 2))
found = {}
for port in PORTS:
    try:
        socket.create_connection((gateway + "%eth0", port), timeout=2).close()
        found[port] = "reached"
    except OSError as error:
        found[port] = str(error)
print(json.dumps({"mine": mine, "gateway": gateway, "found": found}))
"""


def agents() -> set[int]:
    """The process ids of this checkout's policy agent, as the machine sees them."""
    namespace = os.stat(f"/run/netns/{node_namespace()}").st_ino
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if os.stat(process / "ns/net").st_ino == namespace and b"policy-agent\0" in command and b"--pod-cidr" in command:
                found.add(int(process.name))
        except OSError:  # it ended while we looked
            continue
    return found


def node_namespace() -> str:
    """The network namespace of this checkout's node."""
    return Layout.of(cluster.ROOT).namespace


def started_anew(before: set[int]) -> set[int]:
    """Wait until another agent runs and says that all its rules are in force."""
    health = ["nsenter", f"--net=/run/netns/{node_namespace()}", "curl", "-fsS", "http://127.0.0.1:10260/healthz"]

    def ready(now: set[int]) -> bool:
        return bool(now and not now & before) and subprocess.run(health, capture_output=True, check=False).returncode == 0

    return until(agents, "another agent to be ready", good=ready)


@pytest.mark.alone  # while the agent is away no pod can start
def test_killing_the_agent_opens_and_closes_nothing(palermo: str, recoleta: str) -> None:
    closed, opened = f"{address_of(recoleta, 'booking')}:8080", service_of(palermo, "booking")
    program = f"CLOSED, OPEN, LEAST = {closed!r}, {opened!r}, {LEAST}\n{LOOP}"
    facts, pod = cluster.facts(), pod_of(palermo, "walkin-queue")
    within = ["-n", f"tenant-{palermo}", pod, "--"]
    command = [facts["kubectl"], "--kubeconfig", facts["kubeconfig"], "exec", *within, "python", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for _kill in range(KILLS):
                before = agents()
                assert len(before) == 1
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                started_anew(before)
        finally:
            cluster.kubectl("exec", *within, "touch", "/tmp/enough")
        counts = json.loads(process.stdout.read())
    assert counts["closed_reached"] == 0, counts
    assert counts["open_refused"] == 0, counts
    assert counts["closed_tried"] > LEAST, counts
    assert counts["open_tried"] > LEAST, counts


def test_no_pod_reaches_the_node_by_its_link_local_address(palermo: str) -> None:
    """API server and kubelet listen on all addresses of the node, and no rule of the agent sees a packet of IPv6."""
    within = ["-n", f"tenant-{palermo}", pod_of(palermo, "booking"), "--"]
    said = json.loads(cluster.kubectl("exec", *within, "python", "-c", f"PORTS = [6443, 10250]\n{LINK_LOCAL}"))
    assert said["gateway"].startswith("fe80::"), said
    assert set(said["found"]) == {"6443", "10250"}
    assert "reached" not in said["found"].values(), said
    addresses = json.loads(subprocess.run(["ip", "-n", node_namespace(), "-json", "-6", "address"], capture_output=True, text=True, check=True).stdout)
    assert {entry["ifname"] for entry in addresses if entry.get("addr_info")} <= {"lo"}
