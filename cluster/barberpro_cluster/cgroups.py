"""The cgroup of this checkout's node, with version 1 and version 2: pods, and beside them the processes of Kubernetes.

Processor time is shared by weight. In the root cgroup every thread weighs as much as a whole group there, so that a few busy threads of the API
server would leave next to nothing for all pods together. As on a usual node, the pods (``kubepods``, two thousand shares of kubelet's on two cores)
stand beside the node's own processes, and the machine's other processes beside both.
"""

from __future__ import annotations

import time
from pathlib import Path

from .errors import ClusterError
from .layout import Layout

ROOT = Path("/sys/fs/cgroup")
SYSTEM = "system"
"""Name of the group of the node's own processes, below the checkout's."""
# In shares of version 1: a thread of the machine's has 1024, and so has the system's group of a usual node.
NODE_SHARES, SYSTEM_SHARES = 8192, 1024


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
            (folder / "cgroup.subtree_control").write_text("+cpu")
        for name in ("cpuset.cpus", "cpuset.mems"):
            own = folder / name
            # Version 1: a new cpuset is empty, and an empty one takes no process.
            if hierarchy != root and own.exists() and not own.read_text().strip():
                own.write_text((hierarchy / name).read_text())
        if _weigh(folder, NODE_SHARES):
            (folder / SYSTEM).mkdir(exist_ok=True)
            _weigh(folder / SYSTEM, SYSTEM_SHARES)


def system(layout: Layout, root: Path = ROOT) -> list[Path]:
    """The files that a process writes 0 to in order to be one of the node's own; empty where nothing shares the processor."""
    folders = [hierarchy / layout.cgroup / SYSTEM for hierarchy in hierarchies(root)]
    return [folder / "cgroup.procs" for folder in folders if folder.exists()]


def _weigh(folder: Path, shares: int) -> bool:
    """Give a cgroup its weight, where the processor is shared in this hierarchy."""
    if (folder / "cpu.shares").exists():
        (folder / "cpu.shares").write_text(str(shares))
    elif (folder / "cpu.weight").exists():
        # As the container runtime converts it: 2..262144 shares to 1..10000.
        (folder / "cpu.weight").write_text(str(1 + (shares - 2) * 9999 // 262142))
    else:
        return False
    return True


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
