"""The cgroup that holds every pod of this checkout, with version 1 and version 2."""

from __future__ import annotations

import time
from pathlib import Path

from .errors import ClusterError
from .layout import Layout

ROOT = Path("/sys/fs/cgroup")


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The roots under which a cgroup has a folder: one with version 2, one for each controller with version 1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    # Where both versions are mounted, the runtime makes a folder in version 2 (`unified`) as well.
    return [path for path in sorted(root.iterdir()) if (path / "cgroup.procs").exists()]


def ensure(layout: Layout, root: Path = ROOT) -> None:
    """Make the cgroup; kubelet refuses a root that is missing in one of the hierarchies."""
    for hierarchy in hierarchies(root):
        folder = hierarchy / layout.cgroup
        folder.mkdir(exist_ok=True)
        if (root / "cgroup.controllers").exists():
            _delegate(root)
        for name in ("cpuset.cpus", "cpuset.mems"):
            own = folder / name
            # Version 1: a new cpuset is empty, and an empty one takes no process.
            if hierarchy != root and own.exists() and not own.read_text().strip():
                own.write_text((hierarchy / name).read_text())


def remove(layout: Layout, root: Path = ROOT, timeout: float = 15.0) -> None:
    """Remove the cgroup with everything below it; raises ClusterError when processes stay in it."""
    deadline = time.monotonic() + timeout
    for hierarchy in hierarchies(root):
        folder = hierarchy / layout.cgroup
        while folder.exists():
            try:
                for path in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)):
                    if path.is_dir():
                        path.rmdir()
                folder.rmdir()
            except OSError as problem:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"cgroup {problem.filename} cannot be removed: {problem.strerror}; "
                        "end the processes that its file cgroup.procs lists and run `make down` again"
                    ) from problem
                time.sleep(0.2)


def exists(layout: Layout, root: Path = ROOT) -> bool:
    """Whether any hierarchy has this checkout's cgroup."""
    return any((hierarchy / layout.cgroup).exists() for hierarchy in hierarchies(root))


def _delegate(root: Path) -> None:
    wanted = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}
    here = set((root / "cgroup.controllers").read_text().split())
    given = set((root / "cgroup.subtree_control").read_text().split())
    for name in sorted((wanted & here) - given):
        (root / "cgroup.subtree_control").write_text(f"+{name}")
