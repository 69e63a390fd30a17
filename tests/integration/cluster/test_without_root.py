"""The simulated profile as a user who is not root: `make cluster PROFILE=simulated`, used, stopped, and nothing left."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from barberpro_cluster.layout import Layout
from tests.support.checkout import NOTHING_LEFT, Checkout
from tests.support.cluster import ROOT
from tests.support.simulated import SimulatedCluster

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600)]

NOBODY = 65534
# What root's cache holds of it, and this user would spend a quarter of an hour on: seen by the user, who may not write there.
SHOWN = ("bin", "crds")


class Unprivileged(Checkout):
    """A checkout that belongs to a user without any right, and that user."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "checkout", {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")})
        self.home = home
        # Folders that root's are bound to: a user who is not root may be unable to go where those are.
        (self.folder / ".venv").unlink()
        self.bound = {self.folder / ".venv": ROOT / ".venv"}
        self.bound |= {home / "cache" / "barberpro" / name: Layout.of(ROOT).cache / name for name in SHOWN}
        for target in self.bound:
            target.mkdir(parents=True)
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as that user, in the checkout."""
        binds = [f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}" for target, source in self.bound.items()]
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        script = " && ".join([*binds, f"cd {shlex.quote(str(self.folder))}", f"exec {shlex.join([*user, *map(str, words)])}"])
        return subprocess.run(["unshare", "--mount", "sh", "-c", script], env=self.environment, capture_output=True, text=True, check=False)

    def make(self, *words: str) -> str:
        done = self.run("make", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def nobody() -> Iterator[Unprivileged]:
    """That user, in a home folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="barberpro-nobody-") as name:
        home = Path(name).resolve()
        home.chmod(0o755)
        made = Unprivileged(home)
        yield made
        made.make("down")


def test_the_embedded_cluster_is_refused_before_anything_is_touched(nobody: Unprivileged) -> None:
    for target in ("cluster", "demo", "test"):
        done = nobody.run("make", target)
        assert done.returncode != 0
        assert (
            f"cluster: the embedded cluster needs root (network namespaces, mounts, cgroups), and this is user {NOBODY}; "
            "run it with sudo, use `make cluster PROFILE=simulated`, or name an own cluster with BARBERPRO_KUBECONFIG" in done.stderr
        )
        assert "==>" not in done.stdout
    assert nobody.left() == NOTHING_LEFT


def test_the_simulated_cluster_is_started_used_and_removed(nobody: Unprivileged) -> None:
    assert "The simulated cluster is up after" in nobody.make("cluster", "PROFILE=simulated")
    state = nobody.folder / ".embedded" / "simulated"
    running = SimulatedCluster(state).processes()
    assert len(running) >= 6
    assert {os.stat(f"/proc/{process}").st_uid for process in running} == {NOBODY}
    assert "runs already" in nobody.make("cluster", "PROFILE=simulated")
    assert "simulated nodes" in nobody.make("cluster-status", "PROFILE=simulated")
    for words in ("create deployment fine --image=registry.invalid/none:1", "wait --for=condition=Available --timeout=120s deployment/fine"):
        done = nobody.run(state / "bin" / "kubectl", f"--kubeconfig={state / 'kubeconfig'}", *words.split())
        assert done.returncode == 0, done.stderr
    assert "The simulated cluster is gone" in nobody.make("down")
    assert nobody.left() == NOTHING_LEFT
