"""The checks of the public multi-tenancy benchmark suite (kubernetes-sigs/multi-tenancy, MTB), as the owner of a tenant of every tier.

The suite's last release runs against Kubernetes 1.2x only, so each of its 18 checks is asked here under its own identifier; and those that
were planned there: claims as the only volumes, reclaim policy, existing volumes.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref

from .baseline import changed, good, named
from .conftest import REGISTRY, TIERS, Guarded

pytestmark = pytest.mark.simulated
CONTAINER = "spec.containers.0.securityContext"
SECURITY = 'violates PodSecurity "restricted:latest": '
# Identifier of the suite: field of the baseline's pod, its value, what the refusal names.
POD_CHECKS: dict[str, tuple[str, Any, str]] = {
    "MTB-PL1-BC-CPI-3 block use of capabilities": (f"{CONTAINER}.capabilities.add", ["SYS_ADMIN"], f"{SECURITY}unrestricted capabilities"),
    "MTB-PL1-BC-CPI-5 block privileged containers": (
        CONTAINER, {"privileged": True, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}, f"{SECURITY}privileged",
    ),
    "MTB-PL1-BC-CPI-6 block privilege escalation": (f"{CONTAINER}.allowPrivilegeEscalation", True, f"{SECURITY}allowPrivilegeEscalation != false"),
    "MTB-PL1-BC-CPI-4 require run as non-root": (f"{CONTAINER}.runAsNonRoot", False, f"{SECURITY}runAsNonRoot != true"),
    "MTB-PL1-BC-HI-1 block use of bind mounts": ("spec.volumes", [{"name": "h", "hostPath": {"path": "/etc"}}], f"{SECURITY}restricted volume types"),
    "MTB-PL1-BC-HI-3 block use of host networking": ("spec.hostNetwork", True, f"{SECURITY}host namespaces (hostNetwork=true)"),
    "MTB-PL1-BC-HI-3 block use of host ports": ("spec.containers.0.ports", [{"containerPort": 80, "hostPort": 80}], f"{SECURITY}hostPort"),
    "MTB-PL1-BC-HI-4 block use of host PID": ("spec.hostPID", True, f"{SECURITY}host namespaces (hostPID=true)"),
    "MTB-PL1-BC-HI-5 block use of host IPC": ("spec.hostIPC", True, f"{SECURITY}host namespaces (hostIPC=true)"),
    "MTB-PL1-BC-DI-2 require image pull policy": ("spec.containers.0.image", f"{REGISTRY}/booking:1", "neither pinned by digest nor pulled always"),
    "planned: claims are the only volumes": (
        "spec.volumes", [{"name": "v", "iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.test:x", "lun": 0}}], f"{SECURITY}restricted volume types",
    ),
}


@pytest.fixture(params=list(TIERS))
def one(request: pytest.FixtureRequest, tenants: dict[str, Guarded]) -> Guarded:
    """A tenant of each tier in turn."""
    return tenants[request.param]


@pytest.mark.parametrize("check", list(POD_CHECKS))
def test_pods(check: str, one: Guarded) -> None:
    path, value, says = POD_CHECKS[check]
    assert one.person("owner").create(good(one)["pod"]) == ""
    assert says in one.person("owner").create(changed(good(one)["pod"], path, value))


def test_block_access_to_cluster_resources(one: Guarded) -> None:
    """MTB-PL1-CC-CPI-1."""
    owner = one.person("owner")
    kinds = (
        ("v1", "Namespace"), ("v1", "Node"), ("v1", "PersistentVolume"), ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"), ("storage.k8s.io/v1", "StorageClass"),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("scheduling.k8s.io/v1", "PriorityClass"),
    )
    for version, kind in kinds:
        assert "at the cluster scope" in owner.list(version, kind, ""), kind
        assert "is forbidden" in owner.create({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}), kind


def test_block_access_to_other_tenants_resources(one: Guarded, tenants: dict[str, Guarded]) -> None:
    """MTB-PL1-CC-TI-1, and the namespaces of the platform."""
    owner = one.person("owner")
    others = [other.namespace for other in tenants.values() if other is not one]
    for namespace in (*others, "barberpro-system", "kube-system"):
        for version, kind in (("v1", "Pod"), ("v1", "Secret"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("networking.k8s.io/v1", "NetworkPolicy")):
            assert f'cannot list resource "{kind.lower()}s"'.replace("networkpolicys", "networkpolicies") in owner.list(version, kind, namespace)
        obj = good(one)["config"]
        obj["metadata"]["namespace"] = namespace
        assert 'cannot create resource "configmaps"' in owner.create(obj)


def test_block_modification_of_resource_quotas(one: Guarded) -> None:
    """MTB-PL1-CC-CPI-2 and MTB-PL1-CC-FNS-1: a quota is there, counted, and not the tenant's to change."""
    owner = one.person("owner")
    ref = Ref("v1", "ResourceQuota", one.namespace, "tier")
    live = owner.resources.get(ref)
    assert live is not None
    assert live["status"]["hard"] == live["spec"]["hard"]
    assert {"requests.cpu", "limits.memory", "requests.storage", "pods", "services.nodeports", "count/jobs.batch"} <= set(live["spec"]["hard"])
    assert live["status"]["used"].keys() == live["spec"]["hard"].keys()
    assert 'cannot patch resource "resourcequotas"' in owner.patch(ref, {"spec": {"hard": {"pods": "9999"}}})
    assert 'cannot delete resource "resourcequotas"' in owner.delete(ref)
    assert 'cannot create resource "resourcequotas"' in owner.create(named(one, "v1", "ResourceQuota", spec={"hard": {}}))


def test_the_quota_is_enforced(one: Guarded) -> None:
    greedy = {"requests": {"cpu": "33", "memory": "16Mi"}, "limits": {"cpu": "33", "memory": "16Mi"}}
    said = one.person("owner").create(changed(good(one)["pod"], "spec.containers.0.resources", greedy))
    assert "is forbidden: maximum cpu usage per Container is" in said or "exceeded quota: tier" in said


def test_block_modification_of_multi_tenancy_objects(one: Guarded) -> None:
    """MTB-PL1-CC-TI-2: what the administrator put into the namespace."""
    owner = one.person("owner")
    for version, kind, name in (
        ("rbac.authorization.k8s.io/v1", "Role", "owner"), ("rbac.authorization.k8s.io/v1", "RoleBinding", "owner"),
        ("networking.k8s.io/v1", "NetworkPolicy", "default-deny"), ("v1", "ServiceAccount", "default"),
    ):
        ref = Ref(version, kind, one.namespace, name)
        for said in (owner.patch(ref, {"metadata": {"annotations": {"a": "b"}}}), owner.delete(ref)):
            assert f"control ownership: {kind} {one.namespace}/{name} is labelled" in said


def test_block_node_ports(one: Guarded) -> None:
    """MTB-PL1-BC-HI-2, and load balancers."""
    for kind in ("NodePort", "LoadBalancer"):
        assert f"has type {kind}: a tenant is reached" in one.person("owner").create(changed(good(one)["service"], "spec.type", kind))


def test_self_service(one: Guarded) -> None:
    """MTB-PL2-BC-OPS-3, -OPS-4 and -OPS-5: roles, bindings and network policies inside the own namespace."""
    owner = one.person("owner")
    for kind in ("role", "binding", "policy"):
        assert owner.create(good(one)[kind]) == "", kind


def test_volumes(one: Guarded) -> None:
    """Planned there: the reclaim policy deletes, and existing volumes are out of reach."""
    owner, claim = one.person("owner"), good(one)["claim"]
    assert owner.create(claim) == ""
    assert "whose volumes are deleted with the claim" in owner.create(changed(claim, "spec.storageClassName", "guarded-retain"))
    assert "which may hold data of somebody else" in owner.create(changed(claim, "spec.volumeName", "theirs"))
    assert 'cannot list resource "persistentvolumes"' in owner.list("v1", "PersistentVolume", "")
