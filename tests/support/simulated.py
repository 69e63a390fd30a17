"""A simulated cluster of a test's own, in a folder of its own beside whatever runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support import sigkill
from tests.support.cluster import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "cluster")}


class SimulatedCluster:
    """Control plane with simulated nodes; `state` is its folder."""

    def __init__(self, state: Path) -> None:
        """Say where it is to live."""
        self.state = state

    def run(self, action: str) -> str:
        """Do `up` or `down`; return what was printed."""
        done = subprocess.run(self._command(action), env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def killed(self, action: str, when: Callable[[float], bool], **environment: str) -> bool:
        """Begin `up` or `down`, end all of it by SIGKILL when so (of the seconds since), and return whether it was still at work."""
        return sigkill.killed(self._command(action), when, environment={**ENVIRONMENT, **environment})

    def _command(self, action: str) -> list[str]:
        return [sys.executable, "-m", "barberpro_cluster.simulated", action, "--state", str(self.state)]

    def kubectl(self, *words: str, user: str = "kubeconfig", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Ask it by kubectl."""
        command = [self.state / "bin" / "kubectl", f"--kubeconfig={self.state / user}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def processes(self) -> list[int]:
        """Return the processes that have its folder in their command line."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(str(self.state) in word for word in words) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found
