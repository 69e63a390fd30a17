"""Debian packages of the embedded cluster (cluster/packages.txt)."""

from __future__ import annotations

from pathlib import Path

from .console import step
from .layout import Layout
from .shell import run

POLICY = Path("/usr/sbin/policy-rc.d")


def wanted(text: str) -> list[str]:
    """Package names in a list with comments."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def missing(names: list[str]) -> list[str]:
    """Those that dpkg does not know as installed."""
    status = Path("/var/lib/dpkg/status").read_text(errors="replace")
    installed = set()
    for block in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status", "").endswith(" ok installed"):
            installed.add(fields.get("Package"))
    return [name for name in names if name not in installed]


def ensure(layout: Layout) -> None:
    """Install what is missing, without letting a package start its service on the host."""
    absent = missing(wanted((layout.checkout / "cluster" / "packages.txt").read_text()))
    if not absent:
        return
    with step(f"Debian packages: {' '.join(absent)}"):
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-q"], env=environment)
        # Ours also when an earlier run of ours was killed before it could remove the file.
        ours = not POLICY.exists() or "barberpro.platform" in POLICY.read_text()
        if ours:
            # Exit code 101 tells invoke-rc.d that services must not be started.
            POLICY.write_text("#!/bin/sh\n# barberpro.platform: services of these packages stay off\nexit 101\n")
            POLICY.chmod(0o755)
        try:
            # What a killed installation has left would be in the way of every later one.
            run(["dpkg", "--configure", "-a"], env=environment)
            run(["apt-get", "install", "-qy", "--no-install-recommends", *absent], env=environment)
        finally:
            if ours:
                POLICY.unlink()
