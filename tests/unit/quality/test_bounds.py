"""Whatever a tenant's people may make, and controllers for them, is bounded by the quota of the tier; and a tenant's own revisions fit beside each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from benchmarks import renders

# What controllers make of what owners make: by the resource from which it comes.
MADE = {"deployments.apps": ("replicasets.apps",), "statefulsets.apps": ("controllerrevisions.apps",), "cronjobs.batch": ("jobs.batch",)}
# Kinds that have a key of their own from before object counts; the same kinds are counted by either.
NAMED = {"services", "secrets", "configmaps", "persistentvolumeclaims"}
KINDS = {
    "ServiceAccount": "count/serviceaccounts", "Role": "count/roles.rbac.authorization.k8s.io", "RoleBinding": "count/rolebindings.rbac.authorization.k8s.io",
    "NetworkPolicy": "count/networkpolicies.networking.k8s.io", "HTTPRoute": "count/httproutes.gateway.networking.k8s.io",
    "Deployment": "count/deployments.apps", "Job": "count/jobs.batch", "ConfigMap": "configmaps", "Service": "services",
}


def of(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The object of this kind and name."""
    return next(obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name))


def creatable(objects: list[dict[str, Any]]) -> set[str]:
    """Resources that the Role of an owner may create, as a quota names them, and those that follow from them."""
    found = {
        f"{resource}.{group}".rstrip(".")
        for rule in of(objects, "Role", "owner")["rules"] if "create" in rule["verbs"]
        for group in rule["apiGroups"] for resource in rule["resources"]
    }
    return found | {made for resource in found for made in MADE.get(resource, ())}


@pytest.mark.parametrize("tier", renders.tiers())
def test_every_kind_that_an_owner_may_make_is_bounded(tier: str) -> None:
    objects = renders.barbershop(tier, "small")
    hard = of(objects, "ResourceQuota", "tier")["spec"]["hard"]
    asked = creatable(objects)
    assert {"pods", "roles.rbac.authorization.k8s.io", "replicasets.apps", "controllerrevisions.apps"} <= asked
    assert {resource for resource in asked if (resource if resource in NAMED else f"count/{resource}") not in hard} == set()
    assert {"requests.ephemeral-storage", "limits.ephemeral-storage"} <= hard.keys()


@pytest.mark.parametrize("tier", renders.tiers())
@pytest.mark.parametrize("market", renders.markets())
def test_three_revisions_take_a_fraction_of_what_is_allowed(tier: str, market: str) -> None:
    # One serves, one comes, one drains; what is not of a revision is counted thrice here, too, and half is left for the tenant.
    objects = renders.barbershop(tier, market)
    hard = of(objects, "ResourceQuota", "tier")["spec"]["hard"]
    for kind, count in Counter(obj["kind"] for obj in objects).items():
        if kind in KINDS:
            assert 3 * count * 2 <= int(hard[KINDS[kind]]), kind
