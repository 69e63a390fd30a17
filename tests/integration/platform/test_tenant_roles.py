"""What the roles owner, operator and viewer of a tenant may ask for, in their own namespace and in a neighbour's."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from tests.support.waiting import equal_to, until

from .baseline import good
from .conftest import Guarded, identity

pytestmark = pytest.mark.simulated
READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete"}
OWN = ("pods", "services", "configmaps", "persistentvolumeclaims", "deployments.apps", "jobs.batch", "networkpolicies.networking.k8s.io",
       "httproutes.gateway.networking.k8s.io", "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io")
NEVER = ("pods/exec", "pods/attach", "pods/portforward", "pods/eviction", "pods/ephemeralcontainers", "serviceaccounts/token", "endpoints",
         "endpointslices.discovery.k8s.io", "namespaces", "ingresses.networking.k8s.io", "daemonsets.apps", "horizontalpodautoscalers.autoscaling")


def verbs(one: Guarded, role: str, resource: str, namespace: str) -> set[str]:
    """Return what the API server says that somebody may do with a resource."""
    who = identity(one.kubeconfig, f"{role}@{one.name}")
    kind, _dot, group = resource.partition(".")
    kind, _slash, part = kind.partition("/")
    client = who.resources.client

    def allowed(verb: str) -> bool:
        attributes: dict[str, Any] = {"namespace": namespace, "verb": verb, "group": group, "resource": kind, "subresource": part}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        return bool(client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)["status"]["allowed"])

    asked = sorted(READ | WRITE | {"deletecollection", "bind", "escalate", "impersonate"})
    return {verb for verb, answer in zip(asked, client.map(allowed, asked), strict=True) if answer is True}


def test_the_owner_serves_himself(shop: Guarded) -> None:
    for resource in OWN:
        # Of what opens and closes the namespace for its people all can go at once; the platform's own stays (control ownership).
        all_at_once = {"deletecollection"} if resource.partition(".")[0] in ("networkpolicies", "roles", "rolebindings") else set()
        assert verbs(shop, "owner", resource, shop.namespace) == READ | WRITE | all_at_once, resource
    for resource in ("resourcequotas", "limitranges", "events"):
        assert verbs(shop, "owner", resource, shop.namespace) == READ, resource
    assert verbs(shop, "owner", "secrets", shop.namespace) == {"create", "delete"}
    for resource in ("deployments/scale.apps", "statefulsets/scale.apps"):
        assert verbs(shop, "owner", resource, shop.namespace) == {"get", "update", "patch"}, resource
        assert verbs(shop, "operator", resource, shop.namespace) == set(), resource


def test_the_operator_restarts_and_reads_logs(shop: Guarded) -> None:
    assert verbs(shop, "operator", "deployments.apps", shop.namespace) == READ | {"patch"}
    assert verbs(shop, "operator", "pods/log", shop.namespace) == {"get"}
    for resource in ("pods", "services", "configmaps", "networkpolicies.networking.k8s.io"):
        assert verbs(shop, "operator", resource, shop.namespace) == READ, resource
    assert verbs(shop, "operator", "secrets", shop.namespace) == set()


def test_the_viewer_reads_and_never_secrets(shop: Guarded) -> None:
    for resource in ("pods", "services", "configmaps", "deployments.apps", "resourcequotas"):
        assert verbs(shop, "viewer", resource, shop.namespace) == READ, resource
    for resource in ("secrets", "pods/log", "rolebindings.rbac.authorization.k8s.io"):
        assert verbs(shop, "viewer", resource, shop.namespace) == set(), resource


@pytest.mark.parametrize("role", ["owner", "operator", "viewer"])
def test_nobody_enters_a_container_or_a_neighbour_s_namespace(role: str, shop: Guarded, tenants: dict[str, Guarded]) -> None:
    for resource in NEVER:
        assert verbs(shop, role, resource, shop.namespace) == set(), resource
    for resource in (*OWN, "secrets"):
        assert verbs(shop, role, resource, tenants["medium"].namespace) == set(), resource


def test_the_owner_passes_on_what_he_has(shop: Guarded) -> None:
    owner, clerk = shop.person("owner"), identity(shop.kubeconfig, "clerk")
    binding = {**good(shop)["binding"], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"}}
    assert "cannot list" in clerk.list("v1", "Pod", shop.namespace)
    assert owner.create(binding, dry_run=False) == ""
    until(lambda: clerk.list("v1", "Pod", shop.namespace), "the authorizer to know the binding", good=equal_to(""))


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_the_operator_restarts_what_the_owner_runs_and_changes_nothing(shop: Guarded, admin: Resources, kind: str) -> None:
    """Whoever chooses what a pod runs could read the Secrets that it mounts and use the token of its account."""
    owner, operator = shop.person("owner"), shop.person("operator")
    asked = good(shop)[kind]
    # Claims would outlive it and count against the quota of the tests that follow.
    spec = {key: value for key, value in asked["spec"].items() if key != "volumeClaimTemplates"}
    asked = {**asked, "metadata": {**asked["metadata"], "name": "operated"}, "spec": spec}
    ref = Ref.of(asked)
    assert owner.create(asked, dry_run=False) == ""
    try:
        restarted = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-26T00:00:00Z"}}}}}
        assert operator.patch(ref, restarted) == ""
        read_it_all = {"name": "main", **asked["spec"]["template"]["spec"]["containers"][0], "command": ["sh", "-c", "cat /s/*"]}
        for wanted in (
            {"spec": {"template": {"spec": {"containers": [read_it_all]}}}}, {"spec": {"template": {"spec": {"serviceAccountName": "somebody"}}}},
            {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}, {"spec": {"replicas": 0}}, {"metadata": {"labels": {"app": "other"}}},
        ):
            refused = f"{asked['kind']} {shop.namespace}/operated may be restarted (kubectl rollout restart) and not changed by operator@{shop.name}"
            assert refused in operator.patch(ref, wanted), wanted
            assert owner.patch(ref, wanted) == "", wanted
    finally:
        admin.delete(ref)
