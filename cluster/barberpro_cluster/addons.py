"""What runs inside the cluster before any playbook: DNS, storage, metrics (manifests in cluster/addons)."""

from __future__ import annotations

import base64
import hashlib
import string

from .kubectl import apply, wait_for
from .layout import CLUSTER_DOMAIN, DNS_SERVICE_IP, STORAGE_CLASS, ZONE, Layout, in_node
from .network import Link

DEPLOYMENTS = (
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
    ("kube-system", "metrics-server"),
)


def values(layout: Layout, link: Link, images: dict[str, str]) -> dict[str, str]:
    """What the placeholders of the manifests stand for."""

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
    corefile = (layout.checkout / "cluster" / "addons" / "20-coredns.yaml").read_text() + link.node_ip
    # A changed Corefile makes new pods, so that a wrong one is seen at once.
    found["DNS_CONFIG"] = hashlib.sha256(corefile.encode()).hexdigest()[:16]
    return found | {f"IMAGE_{name.upper()}": reference for name, reference in images.items()}


def render(layout: Layout, link: Link, images: dict[str, str]) -> str:
    """All manifests as one text; raises KeyError for a placeholder without a value."""
    folder = layout.checkout / "cluster" / "addons"
    known = values(layout, link, images)
    texts = [string.Template(path.read_text()).substitute(known) for path in sorted(folder.glob("*.yaml"))]
    return "---\n".join(texts)


def ensure(layout: Layout, link: Link, images: dict[str, str], timeout: float = 180.0) -> None:
    """Apply the add-ons and wait until each answers."""
    apply(layout, render(layout, link, images))
    wait_for(layout, "node node-1", ("--for=condition=Ready", "node/node-1"), timeout)
    for namespace, name in DEPLOYMENTS:
        words = ("--for=condition=Available", f"--namespace={namespace}", f"deployment/{name}")
        wait_for(layout, f"Deployment {namespace}/{name}", words, timeout)
    words = ("--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io")
    wait_for(layout, "APIService v1beta1.metrics.k8s.io", words, timeout)
