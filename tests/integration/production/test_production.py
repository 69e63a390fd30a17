"""The production example as an operator runs it: `deploy_platform.yml`, then `deploy_vertical.yml --check`, with its inventory as it is.

Only the digests of the images differ, which the example says are to be put in.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.audit import AuditLog
from tests.support.playbooks import Run, plan_of

from .conftest import AUTH, DATABASE, INVENTORY, PASSWORD, REGISTRY, ZONE, Cloud

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600)]
GROUPS: dict[str, Any] = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["children"]
TENANTS = sorted(GROUPS["tenants"]["hosts"])
DEPLOYER = "ci@barberpro.example"
BASE: dict[str, Any] = yaml.safe_load((ROOT / "roles/vertical_base/defaults/main.yml").read_text())


def group_of(tenant: str, dimension: str) -> str:
    """Return what the tenant's group of a dimension says."""
    (name,) = [name for name, group in GROUPS.items() if name.startswith(f"{dimension}_") and tenant in group["hosts"]]
    return name.removeprefix(f"{dimension}_")


@dataclass
class Planned:
    """What a dry run of a new tenant said, the plan that it left, and what others saw of the cluster and the database before and after it."""

    name: str
    run: Run
    writes: list[str]
    before: tuple[Any, ...]
    after: tuple[Any, ...]
    plan: dict[str, Any]
    path: Path

    def objects(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        """Return the objects of a kind as they would be."""
        return [yaml.safe_load(item["after"]) for item in self.plan["objects"] if re.match(f"{kind} ([^/]*/)?{name}", item["object"])]


@pytest.fixture(scope="module", params=TENANTS)
def planned(cloud: Cloud, request: pytest.FixtureRequest) -> Planned:
    """The dry run of each tenant."""
    log, before, name = AuditLog(log=cloud.cluster.state / "logs" / "audit.log"), cloud.looked(), request.param
    run = cloud.play("deploy_vertical.yml", "--check", "--diff", "-v", "--limit", name, tenant=name, extra={"image_overrides": cloud.images})
    assert run.code == 0, run.output
    return Planned(name, run, log.writes_of(DEPLOYER), before, cloud.looked(), *plan_of(run, name))


def test_a_dry_run_passes_its_gate_and_writes_nothing(cloud: Cloud, planned: Planned) -> None:
    said = planned.run.words()
    assert f"user {DEPLOYER} may do all " in said
    assert "gateway barberpro-gateway/barberpro programmed" in said
    assert all(f"manifest {reference.partition('@')[2][:19]} is in {REGISTRY}" in said for reference in cloud.images.values())
    assert planned.writes == []
    assert planned.after == planned.before


def test_the_plan_says_what_would_be_in_cluster_database_and_zone(planned: Planned) -> None:
    plan = planned.plan
    assert {item["action"] for item in plan["objects"]} == {"created"}
    assert f"Namespace tenant-{planned.name}" in {item["object"] for item in plan["objects"]}
    assert f"create schema {plan['database']['schema']}" in plan["database"]["changes"]
    assert {(item["table"], item["to"]) for item in plan["database"]["migrations"]} == {("alembic_version_booking", "0007"), ("alembic_version_walkin", "0002")}
    assert plan["database"]["backup"] == {}
    assert (plan["dns"]["action"], plan["dns"]["type"], plan["dns"]["values"]) == ("created", "CNAME", [f"gateway.{ZONE}"])
    assert plan["dns"]["host"] == f"{planned.name}.{ZONE}"


def test_a_tenant_is_what_its_groups_say(planned: Planned) -> None:
    tenant = planned.name
    (namespace,) = planned.objects("Namespace")
    region = yaml.safe_load((INVENTORY / f"group_vars/region_{group_of(tenant, 'region')}/region.yml").read_text())["region"]
    assert namespace["metadata"]["labels"].items() >= {
        "barberpro.platform/tier": group_of(tenant, "tier"), "barberpro.platform/market": group_of(tenant, "market"),
        "barberpro.platform/region": region,
    }.items()
    (quota,) = planned.objects("ResourceQuota")
    assert quota["spec"]["hard"]["limits.cpu"] == str(BASE["vertical_base_tiers"][group_of(tenant, "tier")]["cpu"])
    (booking,) = planned.objects("Deployment", "booking")
    assert booking["spec"]["replicas"] == BASE["vertical_base_markets"][group_of(tenant, "market")]["replicas"]
    (settings,) = planned.objects("ConfigMap", "settings")
    business = yaml.safe_load((INVENTORY / f"host_vars/{tenant}/business.yml").read_text())["business"]
    assert json.loads(settings["data"]["settings.json"])["name"] == business["name"]


def test_a_tenant_meets_the_providers_of_the_example(planned: Planned) -> None:
    (route,) = planned.objects("HTTPRoute", "main")
    assert route["spec"]["hostnames"] == [f"{planned.name}.{ZONE}"]
    (gateway,) = planned.objects("NetworkPolicy", "allow-gateway-booking")
    assert gateway["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kong"}
    (database,) = planned.objects("NetworkPolicy", "allow-postgresql")
    assert [peer["ipBlock"]["cidr"] for peer in database["spec"]["egress"][0]["to"]] == ["10.40.16.0/24", "10.40.17.0/24"]
    assert {account["imagePullSecrets"][0]["name"] for account in planned.objects("ServiceAccount")} == {"registry"}


def test_no_credential_is_shown_or_written_down(planned: Planned) -> None:
    text = planned.run.output + planned.path.read_text() + (planned.path.parent / "plan.txt").read_text()
    assert not [secret for secret in (PASSWORD, *AUTH.values(), *map(_decoded, AUTH.values())) if secret in text]


def _decoded(auth: str) -> str:
    """Return the password in a credential of a registry."""
    return base64.b64decode(auth).decode().partition(":")[2]


@pytest.mark.parametrize("namespace", ["barberpro-preflight", "barberpro-data"])
def test_pods_that_deploys_run_beside_the_tenants_pull_from_the_private_registry_alone(cloud: Cloud, namespace: str) -> None:
    (secret, account) = (
        json.loads(cloud.cluster.kubectl("get", what, "-n", namespace, "-o", "json").stdout) for what in ("secret/registry", "serviceaccount/default")
    )
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert json.loads(base64.b64decode(secret["data"][".dockerconfigjson"])) == {"auths": {REGISTRY: {"auth": AUTH[REGISTRY]}}}
    assert account["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        # The placeholders of the example.
        ({}, f"image {REGISTRY}/barberpro/booking@sha256:{'1' * 64}: manifest unknown to registry {REGISTRY}"),
        ({"image_overrides": {"booking": f"elsewhere.example/booking@sha256:{'a' * 64}"}}, "control images: "),
        ({"database_connections_kept": 990}, f"PostgreSQL at {DATABASE}:5432 has 7 left to promise: max_connections is 1000"),
    ],
    ids=["placeholders", "registry", "connections"],
)
def test_what_does_not_fit_the_installation_is_refused(cloud: Cloud, extra: dict[str, Any], sentence: str) -> None:
    run = cloud.play("deploy_vertical.yml", "--check", "--limit", TENANTS[0], tenant=TENANTS[0], extra=extra)
    assert run.code != 0
    assert sentence in run.words()
