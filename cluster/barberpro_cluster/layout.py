"""Where everything of one checkout's cluster lives.

All state is under ``.embedded/`` of the checkout. The node's processes run in a mount namespace of their own in
which that folder is bound at the fixed short path ``/run/barberpro`` (``NODE``), so that socket paths never grow with
the length of the checkout's path and configuration files are the same in every checkout.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

NODE = "/run/barberpro"
"""Path of the state folder as the node's processes see it."""

NODE_NAME = "node-1"
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
ZONE = "barberpro.test"
TSIG_NAME = "barberpro-deployer"
STORAGE_CLASS = "local-path"


@dataclass(frozen=True)
class Layout:
    """Paths and names that follow from the checkout's path alone."""

    checkout: Path
    cache: Path

    @classmethod
    def of(cls, checkout: Path) -> Layout:
        """The layout of the checkout at that path; the cache is shared by every checkout of this user."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return cls(checkout=checkout.resolve(), cache=Path(base) / "barberpro")

    @property
    def state(self) -> Path:
        """The folder with all state of this checkout's cluster."""
        return self.checkout / ".embedded"

    @property
    def ident(self) -> str:
        """Eight hex digits that tell this checkout's network namespace, cgroup and interface from another's."""
        return hashlib.sha256(str(self.checkout).encode()).hexdigest()[:8]

    @property
    def namespace(self) -> str:
        """Name of the network namespace."""
        return f"barberpro-{self.ident}"

    @property
    def veth(self) -> str:
        """Name of the host's end of the veth pair (at most 15 characters)."""
        return f"bp{self.ident}"

    @property
    def cgroup(self) -> str:
        """Name of the cgroup of the node: its pods and its own processes."""
        return f"barberpro-{self.ident}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def deployer_kubeconfig(self) -> Path:
        """The kubeconfig of the user ``barberpro-deployer``."""
        return self.state / "deployer.kubeconfig"

    @property
    def facts(self) -> Path:
        """The facts file that `make cluster` writes."""
        return self.state / "cluster.json"

    @property
    def pki(self) -> Path:
        """Folder of keys and certificates."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """Folder of every process's log and of the audit log."""
        return self.state / "logs"

    @property
    def tools(self) -> Path:
        """Folder of the pinned Go tool modules."""
        return self.checkout / "cluster" / "tools"


def facts_file(checkout: Path) -> Path:
    """The facts that inventory, demo and tests read: those of the file that BARBERPRO_CLUSTER_FACTS names, else those of `make cluster`."""
    named = os.environ.get("BARBERPRO_CLUSTER_FACTS")
    return Path(named) if named else Layout.of(checkout).facts


def in_node(*parts: str) -> str:
    """Path of a file of the state folder as the node's processes see it."""
    return "/".join((NODE, *parts))
