"""Whose requests wait in which queue of the API server: no tenant's in the control plane's, and none in another tenant's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from .baseline import good
from .conftest import DEPLOYER, NAMESPACES, Guarded, identity

pytestmark = pytest.mark.simulated
FLOWCONTROL = "flowcontrol.apiserver.k8s.io/v1"
# What Kubernetes' own parts and its leader elections run in.
CONTROL_PLANE = ("leader-election", "node-high", "system", "workload-high")


def schema(admin: Resources, name: str) -> dict[str, Any]:
    """A live FlowSchema."""
    found = admin.get(Ref(FLOWCONTROL, "FlowSchema", "", name))
    assert found, f"no FlowSchema {name}"
    return found


def schema_of(admin: Resources, kubeconfig: str, path: str, user: str, *groups: str) -> str:
    """The name of the FlowSchema that the API server puts a user's request into, as its answer says."""
    client = identity(kubeconfig, user, *groups).resources.client
    answer = client.send("GET", path, headers=client.headers())
    uid = answer.headers["x-kubernetes-pf-flowschema-uid"]
    return next(item["metadata"]["name"] for item in admin.list(FLOWCONTROL, "FlowSchema") if item["metadata"]["uid"] == uid)


@pytest.mark.parametrize("who", ["owner", "service account"])
def test_a_tenant_s_requests_have_seats_of_their_own(shop: Guarded, admin: Resources, simulated_kubeconfig: str, who: str) -> None:
    account = f"system:serviceaccount:{shop.namespace}:default"
    user = f"owner@{shop.name}" if who == "owner" else account
    path = f"/api/v1/namespaces/{shop.namespace}/pods"
    assert schema_of(admin, simulated_kubeconfig, path, user, "system:authenticated") == "barberpro-tenants"


@pytest.mark.parametrize(("user", "group"), [
    (DEPLOYER, "system:authenticated"),
    (f"system:serviceaccount:{NAMESPACES['gateway']}:envoy", f"system:serviceaccounts:{NAMESPACES['gateway']}"),
])
def test_the_platform_does_not_wait_behind_tenants(shop: Guarded, admin: Resources, simulated_kubeconfig: str, user: str, group: str) -> None:
    for path in (f"/api/v1/namespaces/{shop.namespace}/pods", "/api/v1/pods", "/version"):
        assert schema_of(admin, simulated_kubeconfig, path, user, group) == "barberpro-platform"


@pytest.mark.parametrize(("user", "group", "expected"), [
    ("system:node:simulated-1", "system:nodes", "system-nodes"),
    ("system:kube-controller-manager", "system:authenticated", "kube-controller-manager"),
    ("system:kube-scheduler", "system:authenticated", "kube-scheduler"),
    ("system:serviceaccount:kube-system:generic", "system:serviceaccounts:kube-system", "kube-system-service-accounts"),
])
def test_the_control_plane_keeps_its_own(
    shop: Guarded, admin: Resources, simulated_kubeconfig: str, user: str, group: str, expected: str,
) -> None:
    assert schema_of(admin, simulated_kubeconfig, f"/api/v1/namespaces/{shop.namespace}/pods", user, group) == expected


def test_no_pod_of_a_tenant_goes_before_another(tenants: dict[str, Guarded], shop: Guarded, admin: Resources) -> None:
    for name, value in (("guarded-high", 1), ("guarded-low", -1)):
        admin.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    try:
        pod = good(shop)["pod"]
        said = {}
        for name in ("barberpro-platform", "guarded-high", "guarded-low"):
            with_class = {**pod, "spec": {**pod["spec"], "priorityClassName": name}}
            for who in ("owner", "stranger"):
                said[name, who] = shop.person(who).create(with_class)
    finally:
        for name in ("guarded-high", "guarded-low"):
            admin.delete(Ref("scheduling.k8s.io/v1", "PriorityClass", "", name))
    for name, priority in (("barberpro-platform", 1000000), ("guarded-high", 1)):
        # A class of the platform by its name, any other by its number.
        asked = f"priorityClassName {name}" if name.startswith("barberpro-") else f"priority {priority} by priorityClassName {name}"
        refused = f"has {asked}, which would push other tenants off the nodes; leave it out"
        for who in ("owner", "stranger"):
            assert "control priorities: Pod " in said[name, who]
            assert refused in said[name, who]
    assert said["guarded-low", "owner"] == said["guarded-low", "stranger"] == ""


def test_each_user_is_a_flow_whatever_namespace_he_asks_for(tenants: dict[str, Guarded], admin: Resources) -> None:
    assert schema(admin, "barberpro-tenants")["spec"]["distinguisherMethod"] == {"type": "ByUser"}
    conditions = {item["type"]: item["status"] for item in schema(admin, "barberpro-tenants")["status"]["conditions"]}
    assert conditions["Dangling"] == "False"


def test_tenants_can_never_take_most_of_the_seats(shop: Guarded, admin: Resources) -> None:
    text = admin.client.send("GET", "/metrics", headers=admin.client.headers()).data.decode()

    def seats(metric: str) -> dict[str, float]:
        pattern = rf'^apiserver_flowcontrol_{metric}_limit_seats{{priority_level="([^"]+)"}} (\S+)$'
        return {name: float(value) for name, value in re.findall(pattern, text, re.MULTILINE)}

    nominal, upper, lower = seats("nominal"), seats("upper"), seats("lower")
    assert nominal["barberpro-tenants"] >= 10
    # Whatever tenants and all others do, these are left to the control plane and the platform.
    for level in (*CONTROL_PLANE, "barberpro-platform"):
        assert lower[level] >= 10 or level == "leader-election", (level, lower)
        assert lower[level] > 0
    assert upper["barberpro-tenants"] < 0.25 * sum(nominal.values())
