"""Every process of the node, in one list."""

from __future__ import annotations

from . import control_plane, node, outside
from .layout import Layout, in_node
from .network import Link
from .supervisor import Program


def programs(layout: Layout, link: Link) -> list[Program]:
    """The processes that supervisord keeps, each with the files whose change asks for its restart."""
    keys = ("pki/ca.crt", "pki/apiserver.crt", "config/encryption.yaml")
    documents = tuple(f"config/{name}" for name in control_plane.documents())
    sparing = control_plane.go_environment("1GiB")
    return [
        Program("etcd", [_bin("etcd"), *control_plane.etcd()], ("pki/etcd.crt",), environment=sparing),
        Program(
            "kube-apiserver",
            [_bin("kube-apiserver"), *control_plane.api_server(link.node_ip)],
            (*keys, *documents),
            environment=sparing,
        ),
        Program(
            "kube-controller-manager",
            [_bin("kube-controller-manager"), *control_plane.controller_manager()],
            ("kubeconfigs/controller-manager",),
            environment=sparing,
        ),
        Program(
            "kube-scheduler",
            [_bin("kube-scheduler"), *control_plane.scheduler()],
            ("kubeconfigs/scheduler",),
            environment=sparing,
        ),
        Program("containerd", ["/usr/bin/containerd", "--config", in_node("config", "containerd.toml")],
                ("config/containerd.toml",)),
        Program(
            "kubelet",
            [_bin("kubelet"), *node.kubelet(link)],
            ("config/kubelet.yaml", "kubeconfigs/kubelet", "pki/kubelet-server.crt"),
            environment=sparing,
        ),
        Program(
            "kube-proxy",
            [_bin("kube-proxy"), f"--config={in_node('config', 'kube-proxy.yaml')}"],
            ("config/kube-proxy.yaml", "kubeconfigs/kube-proxy"),
        ),
        Program("policy-agent", [_bin("policy-agent"), *node.policy_agent()], ("kubeconfigs/policy-agent",)),
        Program("registry", outside.registry_command(), ("config/registry.yaml",)),
        Program("knot", outside.knot_command(), ("config/knot.conf",)),
        Program("pebble", outside.pebble_command(layout, link), ("config/pebble.json", "pki/pebble.crt")),
    ]  # fmt: skip


def _bin(name: str) -> str:
    return in_node("bin", name)
