"""What runs inside the cluster before any playbook: DNS, storage, metrics (manifests in cluster/addons)."""

from __future__ import annotations

import base64
import hashlib
import string
from pathlib import Path

from .kubectl import apply, wait_for
from .layout import CLUSTER_DOMAIN, DNS_SERVICE_IP, STORAGE_CLASS, ZONE, Layout, in_node
from .network import Link

DEPLOYMENTS = (
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
    ("kube-system", "metrics-server"),
)


def values(layout: Layout, link: Link, images: dict[str, str], folder: Path | None = None) -> dict[str, str]:
    """What the placeholders of the manifests stand for; ``folder`` is the checkout with the manifests."""

    def encoded(name: str) -> str:
        return base64.b64encode((layout.pki / name).read_bytes()).decode()

    found = {
        "NODE_IP": link.node_ip,
        "ZONE": ZONE,
        "CLUSTER_DOMAIN": CLUSTER_DOMAIN,
        "DNS_SERVICE_IP": DNS_SERVICE_IP,
        "STORAGE_CLASS": STORAGE_CLASS,
        "STORAGE_PATH": in_node("storage"),
        "CA_BUNDLE": encoded("ca.crt"),
        "METRICS_CERTIFICATE": encoded("metrics-server.crt"),
        "METRICS_KEY": encoded("metrics-server.key"),
    }
    corefile = ((folder or layout.checkout) / "cluster" / "addons" / "20-coredns.yaml").read_text() + link.node_ip
    # A changed Corefile makes new pods, so that a wrong one is seen at once.
    found["DNS_CONFIG"] = hashlib.sha256(corefile.encode()).hexdigest()[:16]
    return found | {f"IMAGE_{name.upper()}": reference for name, reference in images.items()}


def substitute(checkout: Path, known: dict[str, str]) -> str:
    """All manifests of a checkout as one text; raises KeyError for a placeholder without a value."""
    paths = sorted((checkout / "cluster" / "addons").glob("*.yaml"))
    return "---\n".join(string.Template(path.read_text()).substitute(known) for path in paths)


def prepare(layout: Layout) -> None:
    """Apply what the node's own processes need at once: the policy agent waits for its rights, and pods wait for it."""
    apply(layout, (layout.checkout / "cluster" / "addons" / "10-node.yaml").read_text())


def ensure(layout: Layout, link: Link, images: dict[str, str], timeout: float = 180.0) -> None:
    """Apply the add-ons and wait until each answers."""
    apply(layout, substitute(layout.checkout, values(layout, link, images)))
    waits: list[tuple[str, tuple[str, ...]]] = [("node node-1", ("--for=condition=Ready", "node/node-1"))]
    for namespace, name in DEPLOYMENTS:
        words = ("--for=condition=Available", f"--namespace={namespace}", f"deployment/{name}")
        waits.append((f"Deployment {namespace}/{name}", words))
    waits.append(("APIService v1beta1.metrics.k8s.io", ("--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io")))
    for what, condition in waits:
        wait_for(layout, what, condition, timeout)
