"""Kubeconfig files: one for each part of the cluster, one for the administrator, one for the deployer."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from .layout import Layout
from .shell import write_if_changed

COMPONENTS = ("controller-manager", "scheduler", "kube-proxy", "kubelet", "policy-agent")


def render(layout: Layout, node_ip: str, certificate: str) -> str:
    """A kubeconfig that carries its certificates, so that the file alone is enough."""

    def embedded(name: str) -> str:
        return base64.b64encode((layout.pki / name).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "embedded",
        "clusters": [
            {
                "name": "embedded",
                "cluster": {
                    "server": f"https://{node_ip}:6443",
                    "certificate-authority-data": embedded("ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": certificate,
                "user": {
                    "client-certificate-data": embedded(f"{certificate}.crt"),
                    "client-key-data": embedded(f"{certificate}.key"),
                },
            }
        ],
        "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": certificate}}],
    }
    return yaml.safe_dump(document, sort_keys=True)


def write_all(layout: Layout, node_ip: str) -> None:
    """Write every kubeconfig of the cluster, readable by root alone."""
    targets: dict[Path, str] = {layout.kubeconfig: "admin", layout.deployer_kubeconfig: "deployer"}
    targets |= {layout.state / "kubeconfigs" / name: name for name in COMPONENTS}
    for path, certificate in targets.items():
        write_if_changed(path, render(layout, node_ip, certificate), mode=0o600)
