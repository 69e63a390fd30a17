"""The owner of a tenant runs a site of his own behind the shared gateway, by what docs/isolation.md says; nobody else gets to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_50_tenants import probe
from tests.support import cluster
from tests.support.playbooks import deploy
from tests.support.waiting import equal_to, until

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]
OWNER = "ana@caballito.test"
LABELS = {"app": "site"}
PORT = 8080


def as_owner(tenant: str, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl in the tenant's namespace as its owner."""
    return cluster.kubectl("--as", OWNER, "--as-group", "system:authenticated", "-n", f"tenant-{tenant}", *arguments, stdin=stdin)


@pytest.fixture
def owned(caballito: str) -> Iterator[str]:
    """The tenant with an owner in its inventory; afterwards without, and without what he made."""
    run = deploy(caballito, extra={"access": {"owner": [{"kind": "User", "name": OWNER}]}})
    assert run.code == 0, run.output
    yield caballito
    as_owner(caballito, "delete", "deployment,service,httproute,networkpolicy", "site", "--ignore-not-found")
    cluster.settle(f"tenant-{caballito}")
    run = deploy(caballito)
    assert run.code == 0, run.output


def site(tenant: str) -> list[dict[str, Any]]:
    """A site as somebody who knows Kubernetes would write it, but for the policy."""
    (booking,) = cluster.objects("deployments", "-n", f"tenant-{tenant}", "-l", "app.kubernetes.io/name=booking")
    main = cluster.objects("httproutes", "-n", f"tenant-{tenant}", "-l", "barberpro.platform/tenant")[0]
    container = {
        "name": "site", "image": booking["spec"]["template"]["spec"]["containers"][0]["image"], "ports": [{"containerPort": PORT}],
        "command": ["python", "-c", f"from http.server import *; HTTPServer(('', {PORT}), type('Site', (BaseHTTPRequestHandler,), "
                    "{'do_GET': lambda self: (self.send_response(200), self.end_headers(), self.wfile.write(b'own site'))})).serve_forever()"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "automountServiceAccountToken": False, "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/sitio"}}], "backendRefs": [{"name": "site", "port": 80}]}
    specs: list[tuple[str, str, dict[str, Any]]] = [
        ("apps/v1", "Deployment", {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": pod}}),
        ("v1", "Service", {"selector": LABELS, "ports": [{"port": 80, "targetPort": PORT}]}),
        ("gateway.networking.k8s.io/v1", "HTTPRoute",
         {"parentRefs": main["spec"]["parentRefs"], "hostnames": [cluster.host_of(tenant)], "rules": [rule]}),
    ]
    return [{"apiVersion": api, "kind": kind, "metadata": {"name": "site", "labels": LABELS}, "spec": spec} for api, kind, spec in specs]


def gateway_may_enter(namespace: str) -> dict[str, Any]:
    """The policy of docs/isolation.md."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    spec = {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer], "ports": [{"port": PORT}]}]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "site"}, "spec": spec}


def test_a_site_of_the_owner_s_own_is_reached_through_the_gateway_alone(owned: str, boedo: str) -> None:
    for obj in site(owned):
        as_owner(owned, "create", "-f", "-", stdin=json.dumps(obj))
    as_owner(owned, "rollout", "status", "deployment/site", "--timeout=120s")
    address = f"site.tenant-{owned}.svc.cluster.local:80"

    def answered() -> tuple[int, str]:
        answer = cluster.ask(owned, "/sitio", timeout=20)
        return answer.status, answer.body if answer.status == 200 else ""

    # The route is there, and the gateway is not let in.
    until(lambda: answered()[0], "the gateway to try the site in vain", 60, good=lambda status: status in (503, 504), pause=1)
    as_owner(owned, "create", "-f", "-", stdin=json.dumps(gateway_may_enter("barberpro-gateway")))
    until(answered, "the owner's site", 60, good=equal_to((200, "own site")), pause=1)
    # The platform's own pages are served as before; nobody else gets to the site past the gateway, the tenant's own workloads neither.
    assert cluster.ask(owned, "/").status == 200
    for tenant in (owned, boedo):
        assert [finding["actual"] for finding in probe(tenant, "booking", "--closed", address)] == ["closed"]
    # A deploy leaves it alone.
    run = deploy(owned, extra={"access": {"owner": [{"kind": "User", "name": OWNER}]}})
    assert run.code == 0, run.output
    assert "changed=0" in run.output
    assert answered() == (200, "own site")
