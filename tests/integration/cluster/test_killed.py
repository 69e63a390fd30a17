"""`make cluster` and `make down` killed at points all along their way: the same command goes on from there, and nothing of the kills is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barberpro_cluster.cluster import REMOVED
from tests.support.checkout import NOTHING_LEFT, Checkout
from tests.support.outages import LAYOUT
from tests.support.sigkill import killed_later_and_later

# The mark gives it a worker of its own: it makes a cluster of another checkout, uses none that is there, and takes many minutes.
pytestmark = [pytest.mark.cluster("killed"), pytest.mark.slow, pytest.mark.timeout(3000)]

SHARED = ("bin", "crds", "images")
# What the killed runs have to compile and to build: a program and images, of sources that only this checkout has; the images' base too.
CHANGED = ("cluster/policy_agent/main.go", "services/common/barberpro_service/__init__.py")
GROWTH = 1.8
"""Each run may work that much longer than the one before."""


@pytest.fixture
def beside() -> Iterator[Checkout]:
    """A checkout with changed sources and a cache of its own, which begins with what this one's holds, but for the images' base."""
    # On the same file system as the cache: its files are linked.
    with tempfile.TemporaryDirectory(dir=LAYOUT.cache.parent, prefix="barberpro-killed-") as name:
        folder, cache = Path(name) / "checkout", Path(name) / "cache" / "barberpro"
        cache.mkdir(parents=True)
        for part in SHARED:
            subprocess.run(["cp", "-al", LAYOUT.cache / part, cache / part], check=True)
        for base in (cache / "images").glob("base-*"):
            shutil.rmtree(base)
        # Of builds that were killed before what they built was changed once more.
        (cache / "bin" / ".policy-agent-0123456789abcdef.x1").mkdir()
        (cache / "images" / ".booking-0123456789abcdef").mkdir()
        # Go's own cache is the one of this user: what has not changed is not compiled again.
        go_cache = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
        made = Checkout(folder, {"XDG_CACHE_HOME": str(cache.parent), "GOCACHE": go_cache})
        for changed in CHANGED:
            comment = "//" if changed.endswith(".go") else "#"
            with (folder / changed).open("a") as stream:
                stream.write(f"\n{comment} Changed, so that it is built anew: {name}\n")
        yield made
        made.make("down")
        # Where the test failed before its end, mounts of builds that it killed may be left.
        subprocess.run([*buildah(cache), "rm", "--all"], capture_output=True, check=False)


def buildah(cache: Path) -> list[str | Path]:
    """Return the words that begin a command on a cache's containers."""
    storage = cache / "containers"
    return ["buildah", "--root", storage / "storage", "--runroot", storage / "run", "--storage-driver=overlay"]


def kill_along_the_way(checkout: Checkout, target: str, first: float) -> int:
    """Kill a target after longer and longer times until a run comes to its end, the program alone in every other; return how many were killed."""
    return killed_later_and_later(lambda number, when: checkout.killed(target, when, alone=number % 2 == 1), first, GROWTH)


def debstraps() -> set[str]:
    """Return the folders in which images' bases are made where their maker does not choose another, those of whoever else is at work among them."""
    return {str(path) for path in Path(tempfile.gettempdir()).glob("mmdebstrap.*")}


def left_in_cache(cache: Path) -> list[str]:
    """Return what a killed build could have left: unfinished folders, build contexts, containers of buildah."""
    unfinished = [str(path) for part in SHARED for path in (cache / part).glob(".*")]
    contexts = [str(path) for path in (cache / "work").iterdir()]
    containers = json.loads(subprocess.run([*buildah(cache), "containers", "--json"], capture_output=True, text=True, check=True).stdout) or []
    return unfinished + contexts + [entry["containername"] for entry in containers]


def assert_usable(checkout: Checkout) -> None:
    """A pod of an image that was built here gets a volume, resolves a name by the cluster's DNS, and comes to its end."""
    script = "import socket, pathlib; pathlib.Path('/data/found').write_text(socket.gethostbyname('kubernetes.default.svc.cluster.local'))"
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    pod = {
        "restartPolicy": "Never",
        "containers": [{
            "name": "main", "image": checkout.facts()["images"]["booking"], "command": ["python3", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
        "securityContext": {"fsGroup": 10001},
        "volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}],
    }  # fmt: skip
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    checkout.kubectl("delete", "job", "usable", "--ignore-not-found")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "usable", "namespace": "default"}, "spec": spec}
    checkout.kubectl("apply", "-f", "-", stdin=json.dumps(job))
    checkout.kubectl("wait", "--for=condition=Complete", "--timeout=300s", "job/usable")


def test_a_killed_make_cluster_and_a_killed_make_down_are_gone_on_with(beside: Checkout) -> None:
    cache = Path(beside.environment["XDG_CACHE_HOME"]) / "barberpro"
    before, made_before = {part: set(os.listdir(cache / part)) for part in SHARED}, debstraps()
    assert not any(name.startswith("base-") for name in before["images"])
    # The program alone and all of it; more of them on a slower machine.
    assert kill_along_the_way(beside, "cluster", 0.5) >= 2
    assert "was up already, nothing changed" in beside.make("cluster")
    assert "11 of 11" in beside.make("cluster-status")
    assert_usable(beside)
    new = {name.rsplit("-", 1)[0] for part in SHARED for name in set(os.listdir(cache / part)) - before[part]}
    assert new >= {"policy-agent", "base", "booking", "walkin_queue"}
    assert left_in_cache(cache) == []
    assert debstraps() <= made_before
    # A removal that was killed, and a start that finds what it left.
    assert beside.killed("down", lambda _seconds: (beside.folder / ".embedded" / REMOVED).exists(), alone=True)
    beside.make("cluster")
    assert_usable(beside)
    assert kill_along_the_way(beside, "down", 0.4) >= 2
    assert beside.left() == NOTHING_LEFT
