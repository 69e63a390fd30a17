"""What a machine must offer, asked before anything is touched; standard library only (it runs before `make setup`)."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .console import warn
from .layout import Layout

GIB = 1024**3
# Measured on Debian 12 after a cold start with a tenant: 12 GiB of Go build cache, 7 GiB of module sources, 5 GiB of
# programs and images in the cache, 4 GiB of registry, container layers and logs; `go clean -cache -modcache` gives the
# first two back once the cluster has been built.
FREE_DISK_COLD = 30 * GIB
FREE_DISK_WARM = 6 * GIB
MEMORY = 6 * GIB
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids")


@dataclass(frozen=True)
class Machine:
    """What the checks look at, so that tests can name a machine of their own."""

    system: str
    user: int
    free_disk: int
    memory: int
    controllers: frozenset[str]
    programs: frozenset[str]
    go: tuple[int, ...]
    file_system: str


def probe(layout: Layout) -> Machine:
    """Look at this machine."""
    system = platform.system()
    if system != "Linux":
        return Machine(system, os.getuid(), 0, 0, frozenset(), frozenset(), (), "")
    programs = frozenset(name for name in ("go", "git", "apt-get", "unshare", "nsenter") if shutil.which(name))
    return Machine(
        system=system,
        user=os.getuid(),
        free_disk=min(shutil.disk_usage(_existing(path)).free for path in (layout.checkout, layout.cache)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        controllers=cgroup_controllers(Path("/")),
        programs=programs,
        go=go_version() if "go" in programs else (),
        file_system=file_system_of(layout.checkout, Path("/proc/self/mounts").read_text()),
    )


def _existing(path: Path) -> Path:
    """The path, or the folder nearest to it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def go_version() -> tuple[int, ...]:
    """The version of the Go that PATH finds, for example (1, 26, 8); () when it does not say."""
    told = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False, env={**os.environ, "GOTOOLCHAIN": "local"})
    return numbers(told.stdout)


def go_needed(layout: Layout) -> tuple[int, ...]:
    """The newest version that a go.mod of the cluster asks for."""
    files = (layout.checkout / "cluster").rglob("go.mod")
    asked = [re.search(r"^go (\S+)$", path.read_text(), re.MULTILINE) for path in files]
    return max((numbers(found[1]) for found in asked if found), default=())


def numbers(version: str) -> tuple[int, ...]:
    """(1, 26, 8) for "go1.26.8"; what follows the digits (rc1) does not count."""
    found = re.search(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def cgroup_controllers(root: Path) -> frozenset[str]:
    """The cgroup controllers that pods can use; with version 2 `cpuacct` is part of `cpu`."""
    unified = root / "sys/fs/cgroup/cgroup.controllers"
    if unified.exists():
        found = set(unified.read_text().split())
        return frozenset(found | ({"cpuacct"} if "cpu" in found else set()))
    return frozenset(name for name in CONTROLLERS if (root / "sys/fs/cgroup" / name).is_dir())


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds a path, from the text of /proc/self/mounts."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, target, found, *_ = line.split()
        inside = str(path) == target or str(path).startswith(target.rstrip("/") + "/")
        if inside and len(target) >= len(best):
            best, kind = target, found
    return kind


def refusals(machine: Machine, layout: Layout, *, warm: bool) -> list[str]:
    """One sentence for each thing that the machine lacks; empty when the cluster can be started.

    ``warm`` says that the binaries are in the cache already, so that less disk is needed.
    """
    if machine.system != "Linux":
        return [f"the embedded cluster needs Linux, and this is {machine.system}; use a Debian 12 machine, or name an own cluster with BARBERPRO_KUBECONFIG"]
    found = []
    if machine.user != 0:
        found.append(
            "the embedded cluster needs root (network namespaces, mounts, cgroups), and this is user "
            f"{machine.user}; run it with sudo, use `make cluster PROFILE=simulated`, "
            "or name an own cluster with BARBERPRO_KUBECONFIG"
        )
    need = FREE_DISK_WARM if warm else FREE_DISK_COLD
    if machine.free_disk < need:
        found.append(
            f"{layout.checkout} or {layout.cache} has {machine.free_disk / GIB:.1f} GiB of free disk, and the embedded cluster needs "
            f"{need / GIB:.0f} GiB (its tools are built from source); free some space"
        )
    if machine.memory < MEMORY:
        found.append(
            f"this machine has {machine.memory / GIB:.1f} GiB of memory, and the embedded cluster needs "
            f"{MEMORY / GIB:.0f} GiB; use a larger machine or `make cluster PROFILE=simulated`"
        )
    missing = [name for name in CONTROLLERS if name not in machine.controllers]
    if missing:
        found.append(
            f"the kernel offers no cgroup controller {', '.join(missing)} under /sys/fs/cgroup; "
            "mount it (inside a container: start the container with --privileged)"
        )
    absent = [name for name in ("go", "git", "apt-get", "unshare", "nsenter") if name not in machine.programs]
    if absent:
        found.append(f"missing program: {', '.join(absent)}; install it and make sure that PATH finds it")
    needed = go_needed(layout)
    if "go" in machine.programs and machine.go < needed:
        shown = [".".join(str(part) for part in version) or "of an unknown version" for version in (machine.go, needed)]
        found.append(f"the Go that PATH finds is {shown[0]}, and the tools of the cluster need {shown[1]}; install that or a later one")
    if machine.file_system == "overlay":
        found.append(f"{layout.checkout} lies on an overlay file system, on which containers cannot be stacked; put the checkout on a disk or a volume")
    return found


def found(layout: Layout) -> list[str]:
    """What this machine lacks for the cluster of this checkout."""
    # A service's image is put there after the programs of Kubernetes.
    warm = any((layout.cache / "images").glob("booking-*"))
    return refusals(probe(layout), layout, warm=warm)


def report(layout: Layout) -> int:
    """Print every refusal; exit code 1 when there is one. Nothing is said about a machine that will do."""
    if os.environ.get("BARBERPRO_KUBECONFIG"):
        return 0
    sentences = found(layout)
    for sentence in sentences:
        warn(f"cluster: {sentence}")
    return 1 if sentences else 0
