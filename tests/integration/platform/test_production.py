"""The production example: each of its tenants is valid, is rendered, and is accepted by the API server and the platform's guard rails."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._store import numbered

from tests.conftest import ROOT
from tests.support.playbooks import play

from .conftest import DEPLOYER, GUARD_LABEL, NAMESPACES, PULLS, REGISTRY, TIERS, defaults, identity

pytestmark = pytest.mark.simulated
INVENTORY = ROOT / "inventories" / "production"
GROUPS: dict[str, dict[str, Any]] = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"]
TENANTS = sorted(GROUPS["tenants"]["hosts"])
PREFLIGHT = "guarded-production"
AUTH = {"registry.barberpro.example": {"auth": "Y2FuYXJ5OmNhbmFyeQ=="}, "other.example": {"auth": "b3RoZXI6b3RoZXI="}}


def group_of(tenant: str, dimension: str) -> str:
    """Return what the tenant's group of a dimension says."""
    (name,) = [name for name, group in GROUPS.items() if name.startswith(f"{dimension}_") and tenant in group["hosts"]]
    return name.removeprefix(f"{dimension}_")


@pytest.fixture(scope="module")
def planned(platform: None, admin: Resources, simulated_kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What a deploy of each tenant would write, and what the server said to it. The namespace for dry runs has the production example's zone."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "config.json").write_text(json.dumps({"auths": AUTH}))
    preflight = admin.get(Ref("v1", "Namespace", "", NAMESPACES["preflight"])) or {}
    admin.apply({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": PREFLIGHT,
            "labels": {**{key: value for key, value in preflight["metadata"]["labels"].items() if key != "kubernetes.io/metadata.name"}},
            "annotations": {"barberpro.platform/host": "barberpro.example"},
        },
    })
    assert preflight["metadata"]["labels"][GUARD_LABEL] == "preflight"
    extra = {
        **{f"__platform_{name}_namespace": value for name, value in NAMESPACES.items()}, "platform_monitoring_namespace": NAMESPACES["monitoring"],
        "barberpro_kubeconfig": simulated_kubeconfig, "registry_auth_file": str(folder / "config.json"),
        # The pipeline looks for them beside itself, which only its own tasks can.
        "__pipeline_template_dirs": [str(ROOT / "roles" / role / "templates") for role in ("tenant", "vertical_base", "monitoring")],
        "production_preflight": PREFLIGHT, "production_path": str(folder),
    }
    run = play("tests/integration/platform/production.yml", inventory=str(INVENTORY), extra=extra)
    assert run.code == 0, run.output
    yield {path.stem: json.loads(path.read_text()) for path in folder.glob("barbershop-*.json")}
    admin.delete(Ref("v1", "Namespace", "", PREFLIGHT))


def objects(planned: dict[str, dict[str, Any]], tenant: str, kind: str, prefix: str = "") -> list[dict[str, Any]]:
    """Return the rendered objects of a kind."""
    return [item for item in planned[tenant]["objects"] if item["kind"] == kind and item["metadata"]["name"].startswith(prefix)]


def refusals(planned: dict[str, dict[str, Any]], tenant: str, kubeconfig: str, image: str = "") -> list[str]:
    """Apply all objects of a tenant by dry run as the deployer; return what was refused, and why."""
    deployer, said = identity(kubeconfig, DEPLOYER), []
    for item in numbered(copy.deepcopy(planned[tenant]["objects"]), 1):
        if item["kind"] != "Namespace":
            item["metadata"]["namespace"] = PREFLIGHT
        if image and item["kind"] == "Deployment":
            item["spec"]["template"]["spec"]["containers"][0]["image"] = image
        if answer := deployer.apply(item):
            said.append(f"{Ref.of(item)}: {answer}")
    return said


def test_every_tenant_of_the_example_is_planned(planned: dict[str, dict[str, Any]]) -> None:
    assert sorted(planned) == TENANTS
    for tenant in TENANTS:
        changes = planned[tenant]["plan"]["changes"]
        assert {change["action"] for change in changes} == {"created"}, tenant
        assert len(changes) > 30, tenant


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_object_is_accepted(planned: dict[str, dict[str, Any]], tenant: str, simulated_kubeconfig: str) -> None:
    assert refusals(planned, tenant, simulated_kubeconfig) == []


def test_the_guard_rails_do_look(planned: dict[str, dict[str, Any]], simulated_kubeconfig: str) -> None:
    said = refusals(planned, TENANTS[0], simulated_kubeconfig, image="elsewhere.example/booking:1")
    assert len(said) == 2
    assert all("control images: " in sentence for sentence in said)


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_is_what_its_groups_say(planned: dict[str, dict[str, Any]], tenant: str) -> None:
    (namespace,) = objects(planned, tenant, "Namespace")
    region = yaml.safe_load((INVENTORY / f"group_vars/region_{group_of(tenant, 'region')}/region.yml").read_text())["region"]
    assert namespace["metadata"]["labels"].items() >= {
        "barberpro.platform/tier": group_of(tenant, "tier"), "barberpro.platform/market": group_of(tenant, "market"),
        "barberpro.platform/region": region,
    }.items()
    (quota,) = objects(planned, tenant, "ResourceQuota")
    assert quota["spec"]["hard"]["limits.cpu"] == str(TIERS[group_of(tenant, "tier")]["cpu"])
    (booking,) = objects(planned, tenant, "Deployment", "booking")
    assert booking["spec"]["replicas"] == defaults("vertical_base")["vertical_base_markets"][group_of(tenant, "market")]["replicas"]
    (settings,) = objects(planned, tenant, "ConfigMap", "settings")
    business = yaml.safe_load((INVENTORY / f"host_vars/{tenant}/business.yml").read_text())["business"]
    assert json.loads(settings["data"]["settings.json"])["name"] == business["name"]


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_meets_the_providers_of_the_example(planned: dict[str, dict[str, Any]], tenant: str) -> None:
    (route,) = objects(planned, tenant, "HTTPRoute", "main")
    assert route["spec"]["hostnames"] == [f"{tenant}.barberpro.example"]
    (gateway,) = objects(planned, tenant, "NetworkPolicy", "allow-gateway-booking")
    assert gateway["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kong"}
    (database,) = objects(planned, tenant, "NetworkPolicy", "allow-postgresql")
    assert [peer["ipBlock"]["cidr"] for peer in database["spec"]["egress"][0]["to"]] == ["10.40.16.0/24", "10.40.17.0/24"]
    assert {account["imagePullSecrets"][0]["name"] for account in objects(planned, tenant, "ServiceAccount")} == {"registry"}
    assert planned[tenant]["platform"]["gateway_address"] == "gateway.barberpro.example"


def test_nothing_was_written(planned: dict[str, dict[str, Any]], admin: Resources) -> None:
    assert planned
    assert [name for name in TENANTS if admin.get(Ref("v1", "Namespace", "", f"tenant-{name}"))] == []


@pytest.mark.parametrize("namespace", [NAMESPACES["preflight"], NAMESPACES["data"]])
def test_pods_that_deploys_run_beside_the_tenants_pull_from_a_private_registry(platform: None, admin: Resources, namespace: str) -> None:
    secret = admin.get(Ref("v1", "Secret", namespace, "registry")) or {}
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    config = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert config == {"auths": {REGISTRY.partition("/")[0]: {"auth": PULLS}}}
    assert (admin.get(Ref("v1", "ServiceAccount", namespace, "default")) or {})["imagePullSecrets"] == [{"name": "registry"}]


def test_credentials_of_other_registries_stay(planned: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(planned)
    assert not [entry["auth"] for entry in AUTH.values() if entry["auth"] in text]
