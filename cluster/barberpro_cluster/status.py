"""What runs of this checkout's cluster, for a person."""

from __future__ import annotations

import json

from . import network, supervisor
from .console import say
from .errors import ClusterError
from .kubectl import get, kubectl
from .layout import Layout


def report(layout: Layout) -> int:
    """Print processes, node, pods that are not ready and addresses; exit code 0 when all is well, 3 when not."""
    if supervisor.init_pid(layout) is None:
        left = "; parts of an earlier one are left (`make down` removes them)" if network.exists(layout) else ""
        say(f"The embedded cluster of {layout.checkout} is not running{left}")
        return 3
    lines = supervisor.states(layout)
    broken = [line for line in lines if " RUNNING " not in f" {line} "]
    say(f"Processes: {len(lines) - len(broken)} of {len(lines)} running (logs in {layout.logs})")
    for line in broken:
        say(f"  {line}")
    try:
        unready = _pods(layout)
        say(kubectl(layout, "get", "nodes", "-o", "wide").rstrip())
    except ClusterError as problem:
        say(f"API server: {problem}")
        return 3
    say(f"Pods that are not ready: {len(unready)}")
    for line in unready:
        say(f"  {line}")
    if layout.facts.exists():
        facts = json.loads(layout.facts.read_text())
        say(f"API https://{facts['node_ip']}:6443, registry {facts['registry']}, DNS {facts['node_ip']}:53, "
            f"ACME {facts['acme']['directory']}")  # fmt: skip
        say(f"kubectl: KUBECONFIG={layout.kubeconfig} {facts['kubectl']} get pods -A")
    return 3 if broken or unready else 0


def _pods(layout: Layout) -> list[str]:
    found = []
    for pod in get(layout, "pods", "--all-namespaces")["items"]:
        state = pod["status"]
        if state.get("phase") == "Succeeded":
            continue
        conditions = {entry["type"]: entry["status"] for entry in state.get("conditions", [])}
        if conditions.get("Ready") != "True":
            reasons = [entry.get("state", {}).get("waiting", {}).get("reason") for entry in state.get("containerStatuses", [])]
            reason = next((text for text in reasons if text), state.get("phase", "Unknown"))
            found.append(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {reason}")
    return found
