"""The installed platform, tried as the deployer and from outside: what it refuses, what it serves. Only dry runs are written."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
from typing import Any

import pytest

from tests.support.backups import READER
from tests.support.cluster import facts, objects
from tests.support.playbooks import play

pytestmark = pytest.mark.cluster
PREFLIGHT = "barberpro-preflight"


def as_deployer(*arguments: str, stdin: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the deployer."""
    command = [facts()["kubectl"], "--kubeconfig", facts()["deployer_kubeconfig"], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, input=json.dumps(stdin) if stdin else None)


def dry_create(item: dict[str, Any]) -> str:
    """Let the server judge an object as if the deployer created it; return what it said."""
    done = as_deployer("create", "--dry-run=server", "-f", "-", stdin=item)
    return done.stdout + done.stderr


def named(kind: str, name: str, namespace: str | None = None, version: str = "v1", **fields: Any) -> dict[str, Any]:
    """Return an object."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **fields}


def pod(image: str) -> dict[str, Any]:
    """Return a pod that Pod Security accepts."""
    return named("Pod", "probe", PREFLIGHT, spec={
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "probe", "image": image, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }],
    })


def test_tenants_have_no_ports_of_the_nodes() -> None:
    service = named("Service", "open", PREFLIGHT, spec={"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80}]})
    assert f"control services: Service {PREFLIGHT}/open has type NodePort: a tenant is reached through the shared gateway only" in dry_create(service)


def test_tenants_run_images_of_the_catalogue_only() -> None:
    said = dry_create(pod("docker.io/library/busybox:1"))
    assert "image docker.io/library/busybox:1 comes from none of the registries of the image catalogue" in said
    assert "pod/probe created (server dry run)" in dry_create(pod(facts()["images"]["booking"]))


@pytest.mark.parametrize("namespace", ["barberpro-gateway", "barberpro-data", "barberpro-monitoring", "barberpro-vault"])
def test_what_all_tenants_need_goes_before_what_one_of_them_runs(namespace: str) -> None:
    # A backup is taken for one tenant, and tests read it meanwhile.
    own = ("-l", "!barberpro.platform/backup", f"--field-selector=status.phase=Running,metadata.name!={READER}")
    pods = [item["spec"] for item in objects("pods", "-n", namespace, *own)]
    assert [(spec["priorityClassName"], spec["priority"]) for spec in pods] == [("barberpro-platform", 1000000)] * len(pods)
    assert pods


def test_deployer_stays_in_namespaces_of_tenants_and_platform() -> None:
    assert "the deployer writes only in namespaces of tenants and of the platform, and default is neither" in dry_create(named("ConfigMap", "x", "default"))
    assert "configmap/x created (server dry run)" in dry_create(named("ConfigMap", "x", PREFLIGHT))


def test_deployer_manages_tenants_namespaces_only() -> None:
    assert "the deployer manages only namespaces whose name begins with tenant-, and other does not" in dry_create(named("Namespace", "other"))
    assert "namespace/tenant-x created (server dry run)" in dry_create(named("Namespace", "tenant-x"))


@pytest.mark.parametrize(
    ("verb", "resource", "answer"),
    [
        ("create", "deployments.apps", "yes"), ("get", "services/proxy", "no"), ("create", "clusterroles.rbac.authorization.k8s.io", "no"),
        ("bind", "clusterroles.rbac.authorization.k8s.io", "no"), ("escalate", "roles.rbac.authorization.k8s.io", "no"),
        ("create", "pods/exec", "no"), ("delete", "nodes", "no"), ("patch", "customresourcedefinitions.apiextensions.k8s.io", "no"),
    ],
)
def test_deployer_s_rights(verb: str, resource: str, answer: str) -> None:
    # Behind a slash kubectl expects a name, not a subresource.
    kind, _slash, subresource = resource.partition("/")
    more = [f"--subresource={subresource}"] if subresource else []
    assert as_deployer("auth", "can-i", verb, kind, "-n", PREFLIGHT, *more).stdout.strip() == answer


def test_deployer_may_ask_prometheus_and_read_the_facts() -> None:
    path = "/api/v1/namespaces/barberpro-monitoring/services/prometheus-operated:9090/proxy/api/v1/query?query=up"
    assert json.loads(as_deployer("get", "--raw", path).stdout)["status"] == "success"
    record = json.loads(as_deployer("get", "secret", "barberpro-platform", "-n", "barberpro-system", "-o", "json").stdout)
    told = json.loads(base64.b64decode(record["data"]["facts"]))
    assert told["gateway_address"] == facts()["node_ip"]
    assert len(told["salt"]) == 40


def test_gateway_answers_with_the_wildcard_certificate() -> None:
    context = ssl.create_default_context(cafile=facts()["acme"]["root_ca_file"])
    host = f"nobody.{facts()['dns']['zone']}"
    with socket.create_connection((facts()["node_ip"], 443), timeout=5) as plain, context.wrap_socket(plain, server_hostname=host) as secured:
        certificate = secured.getpeercert()
    assert certificate
    assert ("DNS", f"*.{facts()['dns']['zone']}") in certificate["subjectAltName"]


def test_postgresql_speaks_only_tls_outside() -> None:
    with socket.create_connection((facts()["node_ip"], 30432), timeout=5) as plain:
        plain.sendall(bytes.fromhex("0000000804d2162f"))  # SSLRequest of the protocol, version 3.0
        assert plain.recv(1) == b"S"


def test_second_run_changes_nothing() -> None:
    kinds = "deployments,statefulsets,services,configmaps,secrets,networkpolicies,prometheuses,alertmanagers,gateways,envoyproxies"
    selector = ("-A", "-l", "app.kubernetes.io/part-of=barberpro.platform")

    def specs() -> dict[str, Any]:
        return {f"{item['kind']} {item['metadata']['name']}": [item["metadata"].get("generation"), item.get("data")] for item in objects(kinds, *selector)}

    before = specs()
    run = play("deploy_platform.yml")
    assert run.code == 0, run.output
    assert "changed=0" in run.output
    assert specs() == before
