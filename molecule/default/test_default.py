"""What the scenario's tenant must look like to kubectl and to a customer."""

from __future__ import annotations

import pytest

from tests.support import cluster

TENANT = "molecule-default"
NAMESPACE = f"tenant-{TENANT}"

pytestmark = pytest.mark.cluster


def test_namespace_is_the_tenants_and_restricted() -> None:
    labels = cluster.objects("namespace", NAMESPACE)[0]["metadata"]["labels"]
    assert labels["barberpro.platform/tenant"] == TENANT
    assert labels["app.kubernetes.io/managed-by"] == "barberpro.platform"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_object_says_whose_it_is() -> None:
    without = [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in cluster.objects("deployments,services,networkpolicies,resourcequotas,httproutes", "-n", NAMESPACE)
        if (item["metadata"].get("labels") or {}).get("barberpro.platform/tenant") != TENANT
    ]
    assert without == []


def test_nothing_is_allowed_that_was_not_declared() -> None:
    policies = cluster.objects("networkpolicies", "-n", NAMESPACE)
    closed = [
        policy for policy in policies
        if not policy["spec"]["podSelector"] and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress") and not policy["spec"].get("egress")
    ]
    assert closed, "no policy denies by default in both directions"


@pytest.mark.parametrize("component", ["booking", "walkin-queue"])
def test_workload_is_available_once(component: str) -> None:
    found = cluster.objects("deployments", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={component}")
    assert [item["metadata"]["name"] for item in found] == [f"{component}-r1"]
    # On a busy machine a pod may miss a probe.
    cluster.kubectl("wait", "--for=condition=Available", f"deployment/{component}-r1", "-n", NAMESPACE, "--timeout=30s")


def test_customer_is_served() -> None:
    answer = cluster.ask(TENANT, "/api/v1/version")
    assert answer.status == 200
    assert answer.json()["tenant"] == TENANT
    assert cluster.ask(TENANT, "/walkin").status == 200


def test_quota_is_that_of_the_tier() -> None:
    hard = cluster.objects("resourcequota", "-n", NAMESPACE)[0]["spec"]["hard"]
    assert hard["pods"] == "30"
