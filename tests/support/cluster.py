"""The cluster under test, seen by clients that are not ours: kubectl, plain HTTP, plain SQL."""

from __future__ import annotations

import functools
import http.client
import json
import os
import socket
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barberpro_cluster.layout import facts_file
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
FACTS_FILE = facts_file(ROOT)
TEST_LABEL = "barberpro.platform/cluster"
# Tenants of the tests that run beside those of the demo tenant (tests/e2e/beside.yml), and of the scenarios in molecule/: what becomes of them says
# nothing about a test's own tenants.
CABALLITO, BOEDO = "barbershop-caballito", "barbershop-boedo"
# A host that Boedo moves to; one label below the zone, as a tenant's name is.
ELSEWHERE = "boedo-elsewhere"
BESIDE = (CABALLITO, BOEDO, ELSEWHERE, "molecule-default", "molecule-rollback")


class NotForTests(Exception):
    """The cluster is missing or does not say that tests may use it."""


@functools.cache
def facts() -> dict[str, Any]:
    """Return the facts of the cluster (see docs/embedded-cluster.md); raise NotForTests when there is none or it lacks the label."""
    if not FACTS_FILE.exists():
        raise NotForTests(f"{FACTS_FILE} is missing: start a cluster first with: make cluster images platform, or name other facts in BARBERPRO_CLUSTER_FACTS")
    found: dict[str, Any] = json.loads(FACTS_FILE.read_text())
    if own := os.environ.get("BARBERPRO_KUBECONFIG"):
        found["kubeconfig"] = own
    command = [found["kubectl"], "--kubeconfig", found["kubeconfig"], "get", "namespace", "kube-system", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise NotForTests(f"the cluster does not answer: {done.stderr.strip()}; start it with: make cluster images platform")
    if json.loads(done.stdout)["metadata"]["labels"].get(TEST_LABEL) != "test":
        raise NotForTests(f"namespace kube-system lacks the label {TEST_LABEL}=test: tests use clusters for tests only")
    return found


def kubectl(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    """Run kubectl as the administrator and return what it printed."""
    command = [facts()["kubectl"], "--kubeconfig", facts()["kubeconfig"], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, input=stdin)
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def objects(*arguments: str) -> list[dict[str, Any]]:
    """Return the objects that `kubectl get` finds, for example objects("pods", "-n", "tenant-x")."""
    found = json.loads(kubectl("get", *arguments, "-o", "json") or "{}")
    return found.get("items", [found])


def exists(kind: str, name: str, namespace: str | None = None) -> bool:
    """Say whether an object exists."""
    where = ["-n", namespace] if namespace else []
    return bool(kubectl("get", kind, name, *where, "--ignore-not-found", "-o", "name").strip())


KINDS = (
    "deployments,services,configmaps,secrets,serviceaccounts,resourcequotas,limitranges,networkpolicies,roles,rolebindings,"
    "poddisruptionbudgets,jobs,pods,httproutes,servicemonitors,prometheusrules"
)


def version(item: dict[str, Any]) -> str:
    """Return what changes with every write of an object but those of its status, which controllers and kubelets go on writing by themselves.

    The resourceVersion, where nobody has written a status; else who wrote what and when, by the server's own account. Wants ``--show-managed-fields``.
    """
    metadata = item["metadata"]
    writes = metadata.get("managedFields", [])
    by_clients = [write for write in writes if write.get("subresource") != "status"]
    if len(by_clients) == len(writes):
        return str(metadata["resourceVersion"])
    return json.dumps([metadata["uid"], metadata.get("generation"), by_clients], sort_keys=True)


def versions(kinds: str, *arguments: str) -> dict[str, str]:
    """Return the version of each object that kubectl finds, by kind, namespace and name."""
    found = {}
    for item in objects(kinds, *arguments, "--show-managed-fields"):
        where = f"{item['metadata']['namespace']}/" if "namespace" in item["metadata"] else ""
        found[f"{item['kind']} {where}{item['metadata']['name']}"] = version(item)
    return found


def resource_versions(namespace: str) -> dict[str, str]:
    """Return the version of every object of a tenant's namespace and of the namespace itself, by kind, namespace and name."""
    return versions(KINDS, "-n", namespace) | versions("namespace", namespace)


def settle(namespace: str, timeout: float = 180.0) -> None:
    """Wait until no pod of a namespace is on its way out: a run that has ended leaves old pods that still drain."""

    def leaving() -> list[str]:
        return [pod["metadata"]["name"] for pod in objects("pods", "-n", namespace) if pod["metadata"].get("deletionTimestamp")]

    until(leaving, f"pods of {namespace} to end", timeout, good=lambda found: not found, pause=0.5)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: str

    def json(self) -> Any:
        """Return the body as parsed JSON."""
        return json.loads(self.body)


def host_of(tenant: str) -> str:
    """Return the customers' host name of a tenant."""
    return f"{tenant}.{facts()['dns']['zone']}"


def ask(tenant: str, path: str = "/", *, method: str = "GET", body: Any = None, https: bool = True, timeout: float = 5.0, **headers: str) -> Answer:
    """Ask a tenant as a customer does: through the gateway, by name, the certificate verified against the authority's root.

    Headers are keyword arguments with underscores. Raises OSError or ssl.SSLError when there is no valid answer.
    """
    host = host_of(tenant)
    address = (facts()["node_ip"], 443 if https else 80)
    connection = http.client.HTTPConnection(host, address[1], timeout=timeout)
    connection.sock = socket.create_connection(address, timeout=timeout)
    if https:
        context = ssl.create_default_context(cafile=facts()["acme"]["root_ca_file"])
        connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = None if body is None else json.dumps(body)
        if payload is not None:
            sent["Content-Type"] = "application/json"
        connection.request(method, path, body=payload, headers=sent)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)
    finally:
        connection.close()


def revision_served(tenant: str) -> str:
    """Return the revision that answers customers, for example "r3"."""
    return ask(tenant).headers["x-barberpro-revision"]
