"""The few calls to the API server that starting the cluster needs, through kubectl as the administrator."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .errors import ClusterError
from .layout import Layout
from .shell import run, succeeds

FIELD_MANAGER = "barberpro-cluster"


def kubectl(layout: Layout, *words: str, stdin: str | None = None) -> str:
    """Run kubectl as the administrator and return what it prints."""
    return run([layout.state / "bin" / "kubectl", f"--kubeconfig={layout.kubeconfig}", *words], stdin=stdin)


def apply(layout: Layout, documents: str) -> None:
    """Server-side apply of a multi-document YAML or JSON text."""
    words = ("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-")
    kubectl(layout, *words, stdin=documents)


def get(layout: Layout, *words: str) -> dict[str, Any]:
    """`kubectl get` as a parsed document."""
    document: dict[str, Any] = json.loads(kubectl(layout, "get", "-o", "json", *words))
    return document


def wait_for_api(layout: Layout, node_ip: str, timeout: float = 120.0) -> None:
    """Wait until the API server says that it is ready; raises ClusterError with the end of its log otherwise."""
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    deadline = time.monotonic() + timeout
    answer = "no answer"
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"https://{node_ip}:6443/readyz", timeout=5, context=context) as response:
                if response.status == 200:
                    return
        except urllib.error.HTTPError as problem:
            answer = f"HTTP {problem.code}"
        except OSError as problem:
            answer = str(problem)
        time.sleep(0.2)
    log = layout.logs / "kube-apiserver.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else "(no log)"
    raise ClusterError(f"the API server at {node_ip}:6443 is not ready after {timeout:.0f} s ({answer}); the end of {log}:\n{tail}")


def wait_for(layout: Layout, what: str, words: tuple[str, ...], timeout: float) -> None:
    """Repeat a `kubectl wait` until it holds; raises ClusterError with the pods' events when it never does."""
    deadline = time.monotonic() + timeout
    command: list[str | Path] = [layout.state / "bin" / "kubectl", f"--kubeconfig={layout.kubeconfig}", "wait", "--timeout=5s", *words]
    while not succeeds(command):
        if time.monotonic() > deadline:
            events = kubectl(layout, "get", "events", "-A", "--sort-by=.lastTimestamp")
            tail = "\n".join(events.splitlines()[-12:])
            raise ClusterError(f"{what} is not ready after {timeout:.0f} s; the newest events:\n{tail}")
        time.sleep(0.3)
