"""The policy agent of the embedded cluster is killed again and again, and nobody gets through, and nobody is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import cluster

from .test_50_tenants import address_of, pod_of, service_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

KILLS = 3
# Both are tried without a pause from inside a pod until a file says enough: what must stay closed, and what must stay open.
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
    while not os.path.exists("/tmp/enough"):
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
    sys.path.insert(0, str(cluster.ROOT / "cluster"))
    from barberpro_cluster.layout import Layout

    return Layout.of(cluster.ROOT).namespace


def started_anew(before: set[int], timeout: float = 30.0) -> set[int]:
    """Wait until another agent runs and says that all its rules are in force."""
    deadline = time.monotonic() + timeout
    while True:
        now = agents()
        if now and not now & before:
            done = subprocess.run(
                ["nsenter", f"--net=/run/netns/{node_namespace()}", "curl", "-fsS", "http://127.0.0.1:10260/healthz"], capture_output=True, check=False,
            )
            if done.returncode == 0:
                return now
        assert time.monotonic() < deadline, f"no new agent after {timeout:g} s: {now}"
        time.sleep(0.1)


def test_killing_the_agent_opens_and_closes_nothing(palermo: str, recoleta: str) -> None:
    closed, opened = f"{address_of(recoleta, 'booking')}:8080", service_of(palermo, "booking")
    program = f"CLOSED, OPEN = {closed!r}, {opened!r}\n{LOOP}"
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
    assert counts["closed_tried"] > 20 * KILLS, counts
    assert counts["open_tried"] > 20 * KILLS, counts
