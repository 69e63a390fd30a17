"""Pods and Kubernetes' own processes share the processor as on a usual node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.outages import LAYOUT, supervisor

pytestmark = pytest.mark.cluster


def cgroup_of(pid: int | str) -> str:
    """Return the cgroups of a process, nothing of one that has ended: containers that others' tests end are among them."""
    try:
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return "" if ended else Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_kubernetes_own_processes_stand_beside_the_pods() -> None:
    first = supervisor.init_pid(LAYOUT)
    children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=True).stdout.split()
    seen = [said for pid in (first, *children) if (said := cgroup_of(pid))]
    assert len(seen) > 5
    assert [said for said in seen if f":/{LAYOUT.cgroup}/system\n" not in said] == []
