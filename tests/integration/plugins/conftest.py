"""A tenant of its own for each test on the simulated cluster, and another client to look at it with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.modules import release, tenant

from tests.support import modules
from tests.support.gateway import Gateway

CLOSED = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}
KINDS = "deployments,services,configmaps,secrets,serviceaccounts,resourcequotas,limitranges,networkpolicies,roles,rolebindings,jobs,httproutes,servicemonitors"


class Kubectl:
    """kubectl as the administrator: not our client, so what it sees is the truth."""

    def __init__(self, path: str, kubeconfig: str) -> None:
        self.command = [path, "--kubeconfig", kubeconfig]

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, input=stdin, timeout=60, check=False)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json") or "{}")
        return found

    def names(self, kinds: str, namespace: str) -> set[str]:
        items = self.json(kinds, "-n", namespace).get("items", [])
        return {f"{item['kind']}/{item['metadata']['name']}" for item in items}

    def versions(self, namespace: str, tenant: str) -> dict[str, str]:
        """resourceVersion of everything a tenant has, in its namespace and in the system's."""
        found = {}
        for arguments in ((KINDS, "-n", namespace), ("secrets", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={tenant}")):
            for item in self.json(*arguments).get("items", []):
                found[f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
        return found


@pytest.fixture(scope="session")
def kubectl(kubectl_path: str, simulated_kubeconfig: str) -> Kubectl:
    client = Kubectl(kubectl_path, simulated_kubeconfig)
    for namespace in ("barberpro-system", "barberpro-preflight"):
        if not client("get", "namespace", namespace, "--ignore-not-found"):
            client("create", "namespace", namespace)
    return client


@dataclass
class Shop:
    """One tenant under test."""

    name: str
    kubeconfig: str
    kubectl: Kubectl

    @property
    def namespace(self) -> str:
        return f"tenant-{self.name}"

    def tenant(self, objects: list[dict[str, Any]] | None = None, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        asked = {"name": self.name, "objects": objects or [], "kubeconfig": self.kubeconfig, "wait_timeout": 30, **options}
        return modules.call(tenant, asked, check=check, diff=diff)

    def release(self, state: str, objects: list[dict[str, Any]] | None = None, *, check: bool = False, **options: Any) -> dict[str, Any]:
        asked = {"name": self.name, "objects": objects or [], "state": state, "kubeconfig": self.kubeconfig, "wait_timeout": 30, **options}
        return modules.call(release, asked, check=check, diff=bool(options.pop("diff", False)))

    def deploy(self, objects: list[dict[str, Any]], *, until: str = "finished") -> dict[str, Any]:
        """Go through the states in order, as the pipeline does; the last result."""
        result = self.tenant(objects)
        assert not result.get("failed"), result
        for state in ("staged", "promoted", "monitored", "finished"):
            result = self.release(state, objects)
            assert not result.get("failed"), result
            if state == until:
                break
        return result

    def versions(self) -> dict[str, str]:
        return self.kubectl.versions(self.namespace, self.name)

    def backend(self) -> str:
        """The Service that customers are routed to."""
        route = self.kubectl.json("httproute", "main", "-n", self.namespace)
        return str(route["spec"]["rules"][0]["backendRefs"][0]["name"])

    def set(self, **options: Any) -> list[dict[str, Any]]:
        return rendered(self.name, **options)


def rendered(
    name: str, *, image: str = "shop:1", workloads: tuple[str, ...] = ("booking",), extra: tuple[str, ...] = (), pods: str = "10", job: bool = True
) -> list[dict[str, Any]]:
    """A set of objects as the renderer makes it; ``extra`` names ConfigMaps of the infrastructure."""
    namespace = f"tenant-{name}"
    out: list[dict[str, Any]] = []

    def add(phase: str, api: str, kind: str, own: str, **body: Any) -> None:
        labels = {"app.kubernetes.io/managed-by": "barberpro.platform", "barberpro.platform/tenant": name, "barberpro.platform/vertical": "barbershop"}
        if kind == "Namespace":
            labels |= {"barberpro.platform/tier": "small", "barberpro.platform/market": "medium", "barberpro.platform/region": "buenos-aires"}
        metadata: dict[str, Any] = {"name": own, "labels": labels, "annotations": {"barberpro.platform/phase": phase}}
        if kind != "Namespace":
            metadata["namespace"] = namespace
        out.append({"apiVersion": api, "kind": kind, "metadata": metadata, **body})

    add("infrastructure", "v1", "Namespace", namespace)
    add("infrastructure", "v1", "ResourceQuota", "tier", spec={"hard": {"pods": pods, "limits.cpu": "4000m", "configmaps": "100"}})
    add("infrastructure", "networking.k8s.io/v1", "NetworkPolicy", "default-deny", spec={**CLOSED})
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    add("infrastructure", "rbac.authorization.k8s.io/v1", "Role", "reader", rules=[rule])
    for config in extra:
        add("infrastructure", "v1", "ConfigMap", config, data={"key": "value"})
    container = {"name": "main", "image": image, "resources": {"limits": {"cpu": "100m"}}}
    if job:
        pod = {"restartPolicy": "Never", "containers": [container]}
        add("workloads", "batch/v1", "Job", "migrate-@revision@", spec={"backoffLimit": 0, "template": {"spec": pod}})
    for workload in workloads:
        match = {"app": workload, "revision": "@revision@"}
        add("workloads", "v1", "Service", f"{workload}-@revision@", spec={"selector": match, "ports": [{"name": "http", "port": 8080}]})
        template = {"metadata": {"labels": match}, "spec": {"containers": [container]}}
        spec = {"replicas": 1, "progressDeadlineSeconds": 60, "selector": {"matchLabels": match}, "template": template}
        add("workloads", "apps/v1", "Deployment", f"{workload}-@revision@", spec=spec)
    backends = [{"name": f"{workloads[0]}-@revision@", "port": 8080}]
    spec = {"parentRefs": [{"name": "barberpro"}], "hostnames": [f"{name}.barberpro.test"], "rules": [{"backendRefs": backends}]}
    add("promotion", "gateway.networking.k8s.io/v1", "HTTPRoute", "main", spec=spec)
    endpoints = [{"port": "http"}]
    add("monitoring", "monitoring.coreos.com/v1", "ServiceMonitor", "targets", spec={"selector": {"matchLabels": {"app": "booking"}}, "endpoints": endpoints})
    return out


@pytest.fixture(scope="session")
def gateway(simulated_kubeconfig: str, kubectl: Kubectl) -> Iterator[Gateway]:
    thread = Gateway(Client.from_options({"kubeconfig": simulated_kubeconfig}))
    thread.start()
    yield thread
    thread.stopped.set()
    thread.join()


@pytest.fixture
def client(simulated_kubeconfig: str) -> Client:
    return Client.from_options({"kubeconfig": simulated_kubeconfig})


@pytest.fixture
def shops(simulated_kubeconfig: str, kubectl: Kubectl, gateway: Gateway, unique: Callable[[str], str]) -> Iterator[Callable[[], Shop]]:
    """Make tenants that are gone after the test."""
    made: list[Shop] = []

    def make() -> Shop:
        made.append(Shop(unique("shop"), simulated_kubeconfig, kubectl))
        return made[-1]

    yield make
    for shop in made:
        kubectl("delete", "namespace", shop.namespace, "--ignore-not-found", "--wait=false")
        kubectl("delete", "secrets,leases", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={shop.name}")


@pytest.fixture
def shop(shops: Callable[[], Shop]) -> Shop:
    return shops()
