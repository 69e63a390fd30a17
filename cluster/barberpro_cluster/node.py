"""Configuration of the node: containerd, the CNI plugins, kubelet and kube-proxy."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from .binaries import link as link_to
from .layout import CLUSTER_DOMAIN, DNS_SERVICE_IP, NODE_NAME, POD_CIDR, Layout, in_node
from .network import Link
from .shell import write_if_changed

REGISTRY_PORT = 5000
CNI_PLUGINS = Path("/usr/lib/cni")
CNI_USED = ("ptp", "host-local", "loopback")
POLICY_PLUGIN = "policy-agent"
POLICY_SOCKET = in_node("run", "policy-agent.sock")
CONTAINERD_SOCKET = in_node("run", "containerd.sock")

CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}"
oom_score = 0

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # The node runs inside a container in some places, where scores below its own are refused.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  max_concurrent_downloads = 6

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{conf}"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
"""

HOSTS = """\
server = "http://{registry}"

[host."http://{registry}"]
  capabilities = ["pull", "resolve"]
"""


def registry_of(link: Link) -> str:
    """Address of the cluster's own registry."""
    return f"{link.node_ip}:{REGISTRY_PORT}"


def containerd_config(pause_image: str) -> str:
    """containerd's configuration; the pause image is named as the registry knows it."""
    return CONTAINERD.format(
        root=in_node("containerd"),
        # Short-lived state and the pods' network namespaces, on the node's own tmpfs.
        state="/run/containerd",
        socket=CONTAINERD_SOCKET,
        pause=pause_image,
        plugins=in_node("cni-plugins"),
        conf=in_node("config", "cni"),
        certs=in_node("config", "certs.d"),
    )


def cni_config() -> dict[str, object]:
    """Every pod gets a routed interface of its own, so that one forward chain sees all traffic of pods."""
    return {
        "cniVersion": "0.4.0",
        "name": "barberpro",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": in_node("cni"),
                },
            },
            # Last: a pod starts only when the rules of its NetworkPolicies are in force.
            {"type": POLICY_PLUGIN, "socket": POLICY_SOCKET},
        ],
    }


def kubelet_config(cgroup: str) -> dict[str, object]:
    """KubeletConfiguration: own cgroup root, certificates of the cluster's authority, no anonymous access."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": in_node("pki", "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": in_node("pki", "kubelet-server.crt"),
        "tlsPrivateKeyFile": in_node("pki", "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        # A laptop may have swap; pods do not use it.
        "failSwapOn": False,
        "memorySwap": {"swapBehavior": "NoSwap"},
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": in_node("config", "resolv.conf"),
        "maxPods": 250,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        # Images come from this cluster's registry only; collecting them would make every test run slower.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        "containerLogMaxSize": "20Mi",
        "nodeStatusReportFrequency": "1m",
        # Changed Secrets and ConfigMaps reach running pods at this pace; Prometheus' configuration is one of them.
        "syncFrequency": "10s",
        "logging": {"format": "text"},
    }


def kube_proxy_config(link: Link) -> dict[str, object]:
    """KubeProxyConfiguration: nftables, on the node's address only, no sysctl of the host changed."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": in_node("kubeconfigs", "kube-proxy")},
        "clusterCIDR": POD_CIDR,
        "detectLocalMode": "ClusterCIDR",
        "bindAddress": link.node_ip,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": ["primary"],
        "nftables": {"minSyncPeriod": "200ms"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def kubelet(link: Link) -> list[str]:
    """kubelet's command line; everything else is in its configuration file."""
    return [
        f"--config={in_node('config', 'kubelet.yaml')}", f"--kubeconfig={in_node('kubeconfigs', 'kubelet')}",
        f"--hostname-override={NODE_NAME}", f"--node-ip={link.node_ip}",
    ]  # fmt: skip


def policy_agent() -> list[str]:
    """The agent that enforces NetworkPolicies: it reads the API and keeps one nftables table of the node."""
    return [
        f"--kubeconfig={in_node('kubeconfigs', 'policy-agent')}", f"--pod-cidr={POD_CIDR}",
        f"--announce-socket={POLICY_SOCKET}", "--healthz-address=127.0.0.1:10260", "--metrics-address=127.0.0.1:10261",
    ]  # fmt: skip


def write_config(layout: Layout, link: Link, pause_image: str) -> None:
    """Write every configuration file of the node, and make the folders that they name."""
    config = layout.state / "config"
    registry = registry_of(link)
    write_if_changed(config / "containerd.toml", containerd_config(pause_image))
    write_if_changed(config / "certs.d" / registry / "hosts.toml", HOSTS.format(registry=registry))
    write_if_changed(config / "cni" / "10-barberpro.conflist", json.dumps(cni_config(), indent=1))
    write_if_changed(config / "kubelet.yaml", yaml.safe_dump(kubelet_config(layout.cgroup)))
    write_if_changed(config / "kube-proxy.yaml", yaml.safe_dump(kube_proxy_config(link)))
    write_if_changed(config / "resolv.conf", f"nameserver {link.node_ip}\n")
    plugins = layout.state / "cni-plugins"
    for name in CNI_USED:
        link_to(plugins / name, CNI_PLUGINS / name)
    link_to(plugins / POLICY_PLUGIN, layout.state / "bin" / "policy-agent")
    for folder in ("run", "storage", "containerd", "cni", "var/lib", "var/log"):
        Path(layout.state, folder).mkdir(parents=True, exist_ok=True)
