"""The facts file `.embedded/cluster.json` (`layout.facts_file`): all that the embedded inventory and the tests know of the cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .layout import STORAGE_CLASS, TSIG_NAME, ZONE, Layout
from .network import Link
from .node import registry_of
from .outside import ACME_PORT, TSIG_ALGORITHM, tsig_secret_file
from .shell import write_if_changed

DEPLOYED = (
    "booking", "walkin_queue", "postgresql", "pgbouncer", "envoy", "envoy_gateway", "prometheus", "alertmanager",
    "prometheus_operator", "prometheus_config_reloader",
)  # fmt: skip
"""Keys of the image catalogue that playbooks deploy."""

ON_REQUEST = ("vault",)
"""Further keys, of parts that were asked for."""


def document(layout: Layout, link: Link, images: dict[str, str], sources: dict[str, Path]) -> dict[str, Any]:
    """The facts. ``images`` maps keys to references by digest, ``sources`` the tools' names to their folders."""
    envoy = sources["envoy-gateway"] / "charts"
    definitions = envoy / "gateway-helm" / "charts" / "crds" / "crds"
    return {
        "profile": "embedded",
        "node_ip": link.node_ip,
        "host_ip": link.host_ip,
        "kubeconfig": str(layout.kubeconfig),
        "deployer_kubeconfig": str(layout.deployer_kubeconfig),
        "kubectl": str(layout.state / "bin" / "kubectl"),
        "helm": str(layout.state / "bin" / "helm"),
        "promtool": "/usr/bin/promtool",
        "audit_log": str(layout.logs / "audit.log"),
        "registry": registry_of(link),
        "images": {key: images[key] for key in DEPLOYED} | {key: images[key] for key in ON_REQUEST if key in images},
        "dns": {
            "server": link.node_ip,
            "port": 53,
            "zone": ZONE,
            "tsig_name": TSIG_NAME,
            "tsig_algorithm": TSIG_ALGORITHM,
            "tsig_secret_file": str(tsig_secret_file(layout)),
        },
        "acme": {
            "directory": f"https://{link.node_ip}:{ACME_PORT}/dir",
            "server_ca_file": str(layout.pki / "ca.crt"),
            "root_ca_file": str(layout.state / "acme" / "roots.pem"),
        },
        "charts": {"envoy_gateway": str(envoy / "gateway-helm")},
        "crds": {
            "gateway_api": [str(definitions / "gatewayapi-crds.yaml")],
            "envoy_gateway": sorted(str(path) for path in (definitions / "generated").glob("*.yaml")),
            "prometheus_operator": sorted(str(path) for path in (sources["prometheus-operator"] / "crds").glob("*.yaml")),
        },
        "storage_class": STORAGE_CLASS,
    }


def write(layout: Layout, facts: dict[str, Any]) -> bool:
    """Write the facts; returns whether they changed."""
    return write_if_changed(layout.facts, json.dumps(facts, indent=2) + "\n")
