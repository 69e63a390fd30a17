"""The benchmarks of fleets on a handful of tenants, so that they do not rot: the same code as make bench-tenancy and make bench-delivery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Kubectl

pytestmark = [pytest.mark.simulated, pytest.mark.slow]


def measured(benchmark: str, count: int, root: Path, folder: Path) -> dict[str, Any]:
    """What a benchmark writes. Neither the platform nor another identity: other tests have tenants that its policies would refuse."""
    path = folder / "result.json"
    peers = ["--peers", "kubectl_ssa", "plain_client"]
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "--bare", "--tenants", str(count), *peers, "--result", str(path)]
    environment = {**os.environ, "PYTHONPATH": f"{root / '.venv' / 'collections'}:{root}"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(path.read_text())
    assert json.loads(done.stdout) == result
    return result


def test_tenancy(kubectl: Kubectl, root: Path, tmp_path: Path) -> None:
    result = measured("tenancy", 3, root, tmp_path)
    assert result["objects"] == {"ours": 60, "plain_client": 60, "kubectl_ssa": 60}
    assert result["ratio"]["ours"] == 1.0
    assert result["ratio"]["kubectl_ssa"] > 0
    assert (result["resource_versions_changed"], list(result["per_tenant_ms"])) == (0, ["3"])
    assert "tenant-fleet-3-" not in kubectl("get", "namespaces", "-o", "name")


def test_delivery(kubectl: Kubectl, root: Path, tmp_path: Path) -> None:
    result = measured("delivery", 2, root, tmp_path)
    assert result["objects"] == {"ours": 40, "plain_client": 40, "kubectl_ssa": 40}
    assert result["resource_versions_changed"] == 0
    assert result["rollback_seconds"]["fleet_simulated"]["tenants"] == 2
    assert result["rollback_seconds"]["one_simulated"]["p99"] > 0
    assert (result["dry_run_seconds"], result["not_measured"]["dry_run_seconds"]) == (None, "left out of a bare look")
    assert result["memory_mib"]["2"] > 0
