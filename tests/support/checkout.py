"""Copies of this checkout, as a clone of it would be, and what they leave on the machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from barberpro_cluster.layout import Layout
from tests.support import sigkill
from tests.support.cluster import ROOT


def copy_of_tracked_files(target: Path, without: Collection[str] = ()) -> None:
    """Copy what git tracks, as it is in the work tree, but for the top folders `without`, to `target`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file() and name.split("/")[0] not in without:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


class Checkout:
    """Another checkout of what is tracked here, with this one's environment and a cluster of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Copy the tracked files; ``environment`` is added to what its commands see."""
        self.folder = folder
        self.environment = {**os.environ, **(environment or {})}
        copy_of_tracked_files(folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def make(self, *words: str) -> str:
        """Run a target to its end and return what it printed."""
        done = subprocess.run(["make", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def killed(self, target: str, when: Callable[[float], bool], *, alone: bool) -> bool:
        """Run a target, end it by SIGKILL when so (of the seconds since), and return whether it was still at work.

        With ``alone`` only the program that does the work dies, as one that ran out of memory; otherwise everything dies.
        """
        victims = self._at_work if alone else None
        return sigkill.killed(["make", target], when, environment=self.environment, folder=self.folder, victims=victims)

    def _at_work(self) -> list[int]:
        """Return the processes that do what a target of this checkout's cluster asks for."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                there = os.readlink(path / "cwd")
            except OSError:
                continue
            if there == str(self.folder) and b"\0-m\0barberpro_cluster\0" in cmdline(path):
                found.append(int(path.name))
        return found

    def end_orphans(self) -> None:
        """End what killed runs have left at work: Ansible's workers have sessions of their own, and one whose playbook was killed may wait for ever."""
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(path / "cwd").startswith(str(self.folder)):
                    os.kill(int(path.name), signal.SIGKILL)

    def facts(self) -> dict[str, Any]:
        """Return what its cluster says of itself."""
        found: dict[str, Any] = json.loads((self.folder / ".embedded" / "cluster.json").read_text())
        return found

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Ask its cluster."""
        facts = self.facts()
        command = [facts["kubectl"], "--kubeconfig", facts["kubeconfig"], *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def left(self) -> dict[str, list[str]]:
        """Return what there is on the machine of its cluster."""
        layout = Layout.of(self.folder)
        cgroups = [os.path.join(folder, name) for folder, names, _files in os.walk("/sys/fs/cgroup") for name in names if name == layout.cgroup]
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        return {
            "network": [name for name in os.listdir("/run/netns") if name == layout.namespace] if Path("/run/netns").exists() else [],
            "links": [line for line in links.splitlines() if layout.veth in line],
            "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.folder) in line],
            "cgroups": cgroups,
            "processes": [str(path) for path in Path("/proc").glob("[0-9]*") if str(self.folder).encode() in cmdline(path)],
            "state": [str(path) for path in self.folder.glob(".embedded")],
        }


NOTHING_LEFT: dict[str, list[str]] = {"network": [], "links": [], "mounts": [], "cgroups": [], "processes": [], "state": []}


def cmdline(process: Path) -> bytes:
    """Return the command line of a process in /proc, which may have ended by now."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
