"""A cluster of the user's own, named by BARBERPRO_KUBECONFIG: it is checked, and never started, changed or removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import own_images
from .console import say
from .errors import ClusterError
from .layout import Layout
from .shell import run

LABEL = "barberpro.platform/cluster=test"


def named() -> str | None:
    """The kubeconfig of the user's own cluster."""
    return os.environ.get("BARBERPRO_KUBECONFIG") or None


def dispatch(layout: Layout, command: str) -> int:
    """`up` and `status` check that the cluster answers and is for tests, `images` pushes to its registry; the others have nothing to do."""
    kubeconfig = named()
    if kubeconfig is None:
        raise ClusterError("BARBERPRO_KUBECONFIG is not set; it names the kubeconfig of an own cluster")
    if command in ("up", "status"):
        check(layout, Path(kubeconfig))
        say(f"Using the cluster of BARBERPRO_KUBECONFIG={kubeconfig}; it carries the label {LABEL}")
    elif command == "images":
        own_images.ensure(layout)
    else:
        say(f"BARBERPRO_KUBECONFIG={kubeconfig} is set: the embedded cluster is left alone (unset it to use {command})")
    return 0


def check(layout: Layout, kubeconfig: Path) -> None:
    """Raises ClusterError unless the cluster answers and carries the label that says it is for tests."""
    if not kubeconfig.is_file():
        raise ClusterError(f"BARBERPRO_KUBECONFIG names {kubeconfig}, which is not a file; name a kubeconfig")
    own = layout.state / "bin" / "kubectl"
    kubectl = str(own) if own.exists() else shutil.which("kubectl")
    if kubectl is None:
        raise ClusterError("kubectl is not installed; install it to use the cluster of BARBERPRO_KUBECONFIG")
    words = ["get", "namespace", "kube-system", "--request-timeout=10s", "-o", "jsonpath={.metadata.labels}"]
    labels = run([kubectl, f"--kubeconfig={kubeconfig}", *words])
    key, value = LABEL.split("=")
    if f'"{key}":"{value}"' not in labels:
        raise ClusterError(
            f"the cluster of BARBERPRO_KUBECONFIG={kubeconfig} is not for tests: its namespace kube-system lacks the "
            f"label {LABEL}; if it may be used, run `kubectl label namespace kube-system {LABEL}`"
        )
