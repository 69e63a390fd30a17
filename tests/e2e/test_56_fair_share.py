"""Pods and Kubernetes' own processes share the processor as on a usual node."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.outages import LAYOUT, supervisor

pytestmark = pytest.mark.cluster


def test_kubernetes_own_processes_stand_beside_the_pods() -> None:
    first = supervisor.init_pid(LAYOUT)
    children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=True).stdout.split()
    assert len(children) > 5
    for pid in (first, *children):
        assert f":/{LAYOUT.cgroup}/system\n" in Path(f"/proc/{pid}/cgroup").read_text()
