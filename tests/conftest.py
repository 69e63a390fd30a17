"""What all test layers share: where the checkout is, which cluster serves tests, and names that no other run uses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import FACTS_FILE

ROOT = Path(__file__).resolve().parents[1]


def pytest_itemcollected(item: pytest.Item) -> None:
    """With several workers (``-n``), keep together what shares a cluster or a server: one cluster serves one test at a time.

    Molecule has tenants of its own, and so have the end-to-end tests marked ``cluster("beside")``: they run beside the others.
    """
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Several workers begin with what takes longest (``--no-loadscope-reorder`` keeps this order)."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _FIRST.index(_group(item)) if _group(item) in _FIRST else len(_FIRST))


_FIRST = ("e2e", "e2e-beside", "simulated", "e2e-killed", "molecule", "production", "postgresql")


def _group(item: pytest.Item) -> str:
    """Name of the tests that one worker runs one after the other."""
    place = item.path.relative_to(ROOT).parts
    if place[:2] == ("tests", "molecule"):
        return "molecule"
    if place[:3] == ("tests", "integration", "production"):
        return "production"  # which has a cluster of its own
    if marker := item.get_closest_marker("cluster"):
        return "-".join(["e2e", *marker.args])
    if item.get_closest_marker("simulated"):
        return "simulated"
    # Their PostgreSQL is started once a session.
    return "postgresql" if place[:2] == ("tests", "integration") else "/".join(place)


@pytest.fixture(scope="session")
def root() -> Path:
    """Path of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def kubectl_path() -> str:
    """Path of a kubectl: the one the cluster's facts name, else the one on PATH."""
    for facts in (FACTS_FILE, ROOT / ".embedded" / "simulated" / "cluster.json"):
        if facts.exists():
            return str(json.loads(facts.read_text())["kubectl"])
    found = shutil.which("kubectl")
    assert found, "no kubectl: start a cluster (make cluster) or install kubectl"
    return found


@pytest.fixture(scope="session")
def simulated_kubeconfig(kubectl_path: str) -> str:
    """Kubeconfig of the simulated profile, or the one that BARBERPRO_KUBECONFIG names. Refuses a cluster that is not for tests."""
    kubeconfig = os.environ.get("BARBERPRO_KUBECONFIG") or str(ROOT / ".embedded" / "simulated" / "kubeconfig")
    assert Path(kubeconfig).exists(), f"{kubeconfig} does not exist: start the cluster with make cluster PROFILE=simulated"
    command = [kubectl_path, "--kubeconfig", kubeconfig, "get", "namespace", "kube-system", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"the cluster of {kubeconfig} does not answer: {done.stderr}"
    labels = json.loads(done.stdout)["metadata"].get("labels", {})
    assert labels.get("barberpro.platform/cluster") == "test", f"{kubeconfig}: kube-system lacks the label barberpro.platform/cluster=test"
    return kubeconfig


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Make a name that no other test uses: unique("shop") -> "shop-3f9a1c2b"."""
    return lambda prefix: f"{prefix}-{uuid.uuid4().hex[:8]}"
