"""What only a real node can show: port-forward through the kubelet, an image in a registry, connections that a pod tries."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _access
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.modules import stage_gate

from tests.support import modules
from tests.support.cluster import facts

pytestmark = pytest.mark.cluster
DNS = "k8s-app=kube-dns"
METRICS = 9153


def kubectl(*arguments: str) -> str:
    found = facts()
    done = subprocess.run([found["kubectl"], "--kubeconfig", found["kubeconfig"], *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace of its own, as strict as a tenant's."""
    name = f"gate-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def client() -> Client:
    return Client.from_options({"kubeconfig": facts()["kubeconfig"]})


def gate(*checks: dict[str, Any]) -> dict[str, Any]:
    asked = {"kubeconfig": facts()["kubeconfig"], "stage": "testing", "budget_seconds": 200, "checks": list(checks)}
    return modules.call(stage_gate, asked)


def test_port_forward_through_the_kubelet(client: Client) -> None:
    pod = _access.ready_pod(Resources(client), "kube-system", DNS)
    answer = _access.pod_request(client, "kube-system", pod, METRICS, "GET", "/metrics")
    assert answer.status == 200
    assert b"coredns_build_info" in answer.body
    assert len(answer.body) > 5000
    with pytest.raises(_access.AccessError, match=f"GET / on port 9 of Pod kube-system/{pod}: .*connection refused.*check that the container listens there"):
        _access.pod_request(client, "kube-system", pod, 9, "GET", "/")
    with pytest.raises(_access.AccessError, match='port-forward to Pod kube-system/none port 9153: HTTP 404 pods "none" not found'):
        _access.pod_request(client, "kube-system", "none", METRICS, "GET", "/")


def test_images_in_the_registry() -> None:
    image = facts()["images"]["booking"]
    none = f"{image.partition('/')[0]}/barberpro/none:1"
    found = gate({"check": "image", "reference": image}, {"check": "image", "reference": none})
    present, missing = found["stage"]["checks"]
    assert present["outcome"] == "passed"
    assert missing["evidence"] == (
        f"image {none}: manifest unknown to registry {none.partition('/')[0]}; push the image or correct its reference"
    )


def test_a_pod_tries_connections_and_is_gone(namespace: str) -> None:
    dns = kubectl("get", "service", "-n", "kube-system", "-l", DNS, "-o", "jsonpath={.items[0].spec.clusterIP}")
    checks = {"check": "reach", "namespace": namespace, "image": facts()["images"]["booking"], "labels": {"app": "try"}, "deadline": 120}
    found = gate({**checks, "open": [f"{dns}:53"], "closed": [f"{dns}:81"]})
    assert found["stage"]["checks"][0]["evidence"] == "1 target open and 1 target closed as declared, tried from a pod", found
    policy = '{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"none"},"spec":{"podSelector":{},"policyTypes":["Egress"]}}'
    found_kubectl = facts()
    command = [found_kubectl["kubectl"], "--kubeconfig", found_kubectl["kubeconfig"], "apply", "-n", namespace, "-f", "-"]
    subprocess.run(command, input=policy, text=True, check=True, capture_output=True, timeout=60)
    shut = gate({**checks, "open": [f"{dns}:53"]})
    assert f"a pod of {namespace} cannot reach {dns}:53 (no answer within 2 s), which is declared open; compare the tenant's network policies" in shut["msg"]
    assert kubectl("get", "pods", "-n", namespace, "-o", "name") == ""
