"""Parts of the embedded cluster that only some need, and that take long to build: a checkout has them once they were asked for."""

from __future__ import annotations

from .layout import Layout
from .shell import write_if_changed

VAULT = "vault"
SIMULATED = "simulated"
"""Never asked for: the profile without nodes names its tools itself."""


def asked(layout: Layout) -> frozenset[str]:
    """The parts that this checkout's cluster has; none after `down`."""
    path = layout.state / "parts"
    return frozenset(path.read_text().split()) if path.exists() else frozenset()


def ask(layout: Layout, part: str) -> None:
    """From now on the cluster has the part."""
    write_if_changed(layout.state / "parts", "\n".join(sorted(asked(layout) | {part})) + "\n")
