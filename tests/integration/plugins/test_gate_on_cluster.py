"""The gate and the report on a real API server (the simulated profile)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.modules import run_report, stage_gate

from tests.support import modules

from .conftest import Kubectl, Shop

pytestmark = pytest.mark.simulated


@pytest.fixture
def gate(simulated_kubeconfig: str) -> Callable[..., dict[str, Any]]:
    """Run checks through the module and return its result, the checks by name."""

    def run(*checks: dict[str, Any], check: bool = False) -> dict[str, Any]:
        asked = {"kubeconfig": simulated_kubeconfig, "stage": "containers", "budget_seconds": 120, "checks": list(checks), "deadline": 60}
        found = modules.call(stage_gate, asked, check=check)
        assert "stage" in found, found
        return {**found, "by": {item["check"]: f"{item['outcome']}: {item['evidence']}" for item in found["stage"]["checks"]}}

    return run


def test_before_a_deploy(gate: Callable[..., dict[str, Any]], shop: Shop, kubectl: Kubectl) -> None:
    rules = [{"group": "apps", "resource": "deployments", "verbs": ["create", "delete"], "namespace": shop.namespace}]
    demand = {"namespace": shop.namespace, "requests": {"cpu": "100m", "memory": "64Mi", "pods": 2}, "largest": {"cpu": "50m"}}
    found = gate(
        {"check": "cluster"},
        {"check": "access", "rules": rules},
        {"check": "name_free", "namespace": shop.namespace, "host": f"{shop.name}.barberpro.test", "tenant": shop.name},
        {"check": "capacity", **demand, "quota": {"pods": "1"}},
        {"check": "platform", "namespace": shop.namespace},
        check=True,
    )["by"]
    assert found["cluster"].startswith("passed: Kubernetes v1.3")
    assert found["access"].endswith("may do all 2 things asked")
    assert found["name_free"] == f"passed: host {shop.name}.barberpro.test is free, namespace {shop.namespace} is free"
    assert f"quota of {shop.namespace}: pods: this deploy adds 2 to 0 in use, and 1 are allowed" in found["capacity"]
    assert "no platform is installed in this cluster" in found["platform"]
    assert kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""


def test_permissions_that_are_missing_are_named(gate: Callable[..., dict[str, Any]], kubectl: Kubectl, shop: Shop, tmp_path: Path) -> None:
    """An identity of its own that may read pods and nothing else."""
    kubectl("create", "namespace", shop.namespace)
    kubectl("create", "serviceaccount", "poor", "-n", shop.namespace)
    token = kubectl("create", "token", "poor", "-n", shop.namespace).strip()
    config = kubectl.json("serviceaccount", "poor", "-n", shop.namespace)
    assert config["metadata"]["name"] == "poor"
    raw = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    raw["users"] = [{"name": raw["users"][0]["name"], "user": {"token": token}}]
    (tmp_path / "kubeconfig").write_text(json.dumps(raw))
    rules = [{"group": "apps", "resource": "deployments", "verbs": ["create"], "namespace": shop.namespace}, {"resource": "namespaces", "verbs": ["create"]}]
    asked = {"kubeconfig": str(tmp_path / "kubeconfig"), "stage": "validation", "budget_seconds": 60, "checks": [{"check": "access", "rules": rules}]}
    found = modules.call(stage_gate, asked)
    assert found["msg"] == (
        f"stage validation failed: 1 of 1 checks: access of permissions: user system:serviceaccount:{shop.namespace}:poor "
        f"may not create deployments.apps in {shop.namespace}, create namespaces; "
        "use the deployer's kubeconfig, or run deploy_platform.yml, which installs its ClusterRole"
    )


def test_after_a_deploy(gate: Callable[..., dict[str, Any]], shop: Shop, kubectl: Kubectl, kubectl_path: str, shops: Callable[[], Shop]) -> None:
    objects = shop.set()
    shop.deploy(objects)
    workload = {"namespace": shop.namespace, "name": "booking-r1"}
    checks = [
        {"check": "rollout", **workload, "wait": 20},
        {"check": "endpoints", "namespace": shop.namespace, "service": "booking-r1", "wait": 20},
        {"check": "restarts", "namespace": shop.namespace, "selector": "app=booking"},
        {"check": "objects", "objects": objects, "phases": ["infrastructure", "workloads", "promotion"], "revision": "r1", "kubectl": kubectl_path},
        {"check": "name_free", "namespace": shop.namespace, "host": f"{shop.name}.barberpro.test", "tenant": shop.name},
    ]
    before = shop.versions()
    found = gate(*checks)
    assert not found.get("failed"), found["msg"]
    assert found["by"]["rollout"] == "passed: 1/1 replicas of booking-r1 available, 0 restarts"
    assert found["by"]["endpoints"] == "passed: 1 ready endpoint of booking-r1"
    assert found["by"]["restarts"] == "passed: 0 restarts in 1 pod"
    assert "as declared, read back by kubectl (1 Deployment, 1 HTTPRoute, 1 Job, " in found["by"]["objects"]
    assert found["by"]["name_free"] == f"passed: host {shop.name}.barberpro.test is ours, namespace {shop.namespace} is ours"
    assert shop.versions() == before

    other = shops()
    taken = gate({"check": "name_free", "namespace": other.namespace, "host": f"{shop.name}.barberpro.test", "tenant": other.name})
    assert f"host {shop.name}.barberpro.test is taken by HTTPRoute {shop.namespace}/main of tenant {shop.name}; choose another host name" in taken["msg"]

    kubectl("scale", "deployment", "booking-r1", "-n", shop.namespace, "--replicas=3")
    changed = gate(checks[3])
    assert f"1 of 8 objects not as declared: Deployment {shop.namespace}/booking-r1 spec.replicas: 3 instead of 1; see who changed it" in changed["msg"]


def test_a_report_is_kept_and_old_ones_go(shop: Shop, kubectl: Kubectl, tmp_path: Path) -> None:
    asked = {"kubeconfig": shop.kubeconfig, "path": str(tmp_path), "tenant": shop.name, "vertical": "barbershop", "result": "unchanged", "keep": 3}
    names = [modules.call(run_report, {**asked, "started": 1_790_000_000 + number})["config_map"] for number in range(5)]
    selector = f"barberpro.platform/tenant={shop.name},barberpro.platform/report"
    kept = kubectl.json("configmaps", "-n", "barberpro-system", "-l", selector)["items"]
    try:
        assert sorted(f"barberpro-system/{item['metadata']['name']}" for item in kept) == names[2:]
        document = json.loads(kept[0]["data"]["report.json"])
        assert (document["tenant"], document["result"]) == (shop.name, "unchanged")
        assert document["versions"]["kubernetes"].startswith("v1.3")
    finally:
        kubectl("delete", "configmaps", "-n", "barberpro-system", "-l", selector)
