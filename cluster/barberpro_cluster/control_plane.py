"""Command lines and configuration files of etcd and the control plane."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import yaml

from .layout import CLUSTER_DOMAIN, NODE_NAME, POD_CIDR, SERVICE_CIDR, Layout, in_node
from .shell import write_if_changed

# Namespaces of the cluster itself, whose pods need the host: they are exempt from Pod Security's default.
EXEMPT_NAMESPACES = ("kube-system", "local-path-storage")


def go_environment(limit: str) -> tuple[tuple[str, str], ...]:
    """Variables of Kubernetes' programs on a small machine; ``limit`` is the heap from which they save memory (``1GiB``).

    Two cores are scarcer than memory: garbage is collected when the heap has grown fivefold instead of twofold.
    """
    return (("GOGC", "400"), ("GOMEMLIMIT", limit))


def etcd() -> list[str]:
    """etcd on the node's loopback; only the API server's certificate may talk to it."""
    return [
        "--name=node", f"--data-dir={in_node('etcd')}",
        "--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=node=http://127.0.0.1:2380",
        f"--cert-file={_pki('etcd.crt')}", f"--key-file={_pki('etcd.key')}",
        f"--trusted-ca-file={_pki('etcd-ca.crt')}", "--client-cert-auth",
        # The cluster does not outlive its machine, and a small machine's disk is its slowest part.
        "--unsafe-no-fsync", "--snapshot-count=10000", "--quota-backend-bytes=2147483648", "--log-level=warn",
    ]  # fmt: skip


def api_server(node_ip: str) -> list[str]:
    """The API server: Node and RBAC authorization, audit log, encrypted Secrets, aggregation."""
    return [
        f"--advertise-address={node_ip}", "--bind-address=0.0.0.0", "--secure-port=6443",
        "--etcd-servers=https://127.0.0.1:2379", f"--etcd-cafile={_pki('etcd-ca.crt')}",
        f"--etcd-certfile={_pki('etcd-client.crt')}", f"--etcd-keyfile={_pki('etcd-client.key')}",
        f"--tls-cert-file={_pki('apiserver.crt')}", f"--tls-private-key-file={_pki('apiserver.key')}",
        f"--client-ca-file={_pki('ca.crt')}",
        f"--kubelet-certificate-authority={_pki('ca.crt')}",
        f"--kubelet-client-certificate={_pki('apiserver-kubelet-client.crt')}",
        f"--kubelet-client-key={_pki('apiserver-kubelet-client.key')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={_pki('front-proxy-ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={_pki('front-proxy-client.crt')}",
        f"--proxy-client-key-file={_pki('front-proxy-client.key')}",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={_pki('sa.pub')}", f"--service-account-signing-key-file={_pki('sa.key')}",
        f"--service-cluster-ip-range={SERVICE_CIDR}", "--service-node-port-range=30000-32767",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--admission-control-config-file={in_node('config', 'admission.yaml')}",
        f"--authentication-config={in_node('config', 'authentication.yaml')}",
        f"--encryption-provider-config={in_node('config', 'encryption.yaml')}",
        f"--audit-policy-file={in_node('config', 'audit-policy.yaml')}",
        f"--audit-log-path={in_node('logs', 'audit.log')}", "--audit-log-maxsize=200", "--audit-log-maxbackup=2",
        "--allow-privileged=true", "--profiling=false", "--event-ttl=2h",
    ]  # fmt: skip


def controller_manager() -> list[str]:
    """The controller manager; every controller acts with a service account of its own."""
    kubeconfig = in_node("kubeconfigs", "controller-manager")
    return [
        f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1", "--leader-elect=false",
        f"--root-ca-file={_pki('ca.crt')}", f"--service-account-private-key-file={_pki('sa.key')}",
        f"--cluster-signing-cert-file={_pki('ca.crt')}", f"--cluster-signing-key-file={_pki('ca.key')}",
        f"--requestheader-client-ca-file={_pki('front-proxy-ca.crt')}",
        "--use-service-account-credentials=true", "--profiling=false",
        f"--cluster-cidr={POD_CIDR}", f"--service-cluster-ip-range={SERVICE_CIDR}", "--allocate-node-cidrs=false",
        # A small machine that builds and tests at the same time must not lose its only node to a missed heartbeat.
        "--node-monitor-grace-period=120s",
    ]  # fmt: skip


def scheduler() -> list[str]:
    """The scheduler."""
    kubeconfig = in_node("kubeconfigs", "scheduler")
    return [
        f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}", "--bind-address=127.0.0.1", "--leader-elect=false",
        "--profiling=false",
    ]  # fmt: skip


def write_config(layout: Layout) -> None:
    """Write the configuration files that the API server's command line names."""
    folder = layout.state / "config"
    for name, document in documents().items():
        write_if_changed(folder / name, yaml.safe_dump(document, sort_keys=False), mode=0o600)
    encryption = folder / "encryption.yaml"
    if not encryption.exists():
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        write_if_changed(encryption, yaml.safe_dump(encryption_document(key), sort_keys=False), mode=0o600)
    for sub in ("etcd", "logs"):
        Path(layout.state, sub).mkdir(mode=0o700, parents=True, exist_ok=True)


def documents() -> dict[str, dict[str, object]]:
    """File name and content of every configuration file that holds no secret."""
    return {
        "admission.yaml": _admission(),
        "authentication.yaml": _authentication(),
        "audit-policy.yaml": _audit_policy(),
    }


def encryption_document(key: str) -> dict[str, object]:
    """Secrets at rest are encrypted with a key (32 bytes, base64) that is made once for each cluster."""
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }


def _admission() -> dict[str, object]:
    pod_security = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline", "enforce-version": "latest"},
        "exemptions": {"namespaces": list(EXEMPT_NAMESPACES)},
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": pod_security}],
    }


def _authentication() -> dict[str, object]:
    """Without a certificate or token, only the health endpoints answer."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")],
        },
    }


def _audit_policy() -> dict[str, object]:
    """Who did what, without bodies: every write of everybody, and reads of people but not of the machinery."""
    reads = ["get", "list", "watch"]
    machinery = ["system:nodes", "system:serviceaccounts"]
    components = [
        "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy",
        "barberpro-policy-agent", f"system:node:{NODE_NAME}",
    ]  # fmt: skip
    leases = [{"group": "coordination.k8s.io", "resources": ["leases"]}]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": components, "verbs": reads},
            {"level": "None", "userGroups": machinery, "verbs": reads},
            {"level": "None", "users": components, "resources": leases},
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/openapi*", "/version"]},
            {"level": "Metadata"},
        ],
    }


def _pki(name: str) -> str:
    return in_node("pki", name)
