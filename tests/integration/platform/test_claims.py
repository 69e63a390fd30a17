"""A host name belongs to one tenant, and a namespace is handed over only when its guard rails hold."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.modules import release, stage_gate

from tests.support import modules
from tests.support.gateway import Gateway

from .baseline import changed, good
from .conftest import NAMESPACES, ZONE, Guarded

pytestmark = pytest.mark.simulated


@pytest.fixture
def make(platform: None, admin: Resources, simulated_kubeconfig: str) -> Iterator[Callable[[], Guarded]]:
    """Make tenants that are gone after the test."""
    made: list[Guarded] = []

    def one() -> Guarded:
        made.append(Guarded(f"claim-{uuid.uuid4().hex[:6]}", "small", simulated_kubeconfig))
        return made[-1]

    yield one
    for tenant in made:
        tenant.clear_away(admin)


@pytest.fixture
def gateway(simulated_kubeconfig: str) -> Iterator[None]:
    """Accepts the routes of this test's tenants, as a gateway's controller does."""
    thread = Gateway(Client.from_options({"kubeconfig": simulated_kubeconfig}))
    thread.start()
    yield
    thread.stopped.set()
    thread.join()


def claims(admin: Resources, tenant: Guarded) -> list[str]:
    """Return the hosts that a tenant has claimed."""
    found = admin.list("v1", "ConfigMap", "barberpro-system", labels=f"barberpro.platform/claim=host,barberpro.platform/tenant={tenant.name}")
    return sorted(item["data"]["host"] for item in found)


def released(tenant: Guarded, state: str, **options: Any) -> dict[str, Any]:
    """Take the release of a tenant to a state, as the pipeline does."""
    asked = {"name": tenant.name, "namespace": tenant.namespace, "state": state, "kubeconfig": tenant.kubeconfig, "wait_timeout": 30, **options}
    result = modules.call(release, asked)
    assert not result.get("failed"), result
    return result


def deploy(tenant: Guarded, host: str, *phases: str, until: str = "finished") -> None:
    """Plan, converge and release a tenant's infrastructure, and what more phases hold, under a host."""
    objects = tenant.objects(host, "infrastructure", *phases)
    if phases:
        released(tenant, "planned", objects=objects, preflight_namespace=NAMESPACES["preflight"])
    assert not tenant.converge(host=host).get("failed")
    for state in ("staged", "promoted", "finished"):
        released(tenant, state, objects=objects)
        if state == until:
            break


def test_of_racing_claims_exactly_one_wins(platform: None, admin: Resources, simulated_kubeconfig: str) -> None:
    host = f"race-{uuid.uuid4().hex[:6]}.{ZONE}"
    runners = [Resources(Client.from_options({"kubeconfig": simulated_kubeconfig})) for _number in range(8)]

    def claim(number: int) -> str:
        try:
            return _claims.take(runners[number], f"racer-{number}", host).action
        except PlatformError as error:
            return error.message

    with ThreadPoolExecutor(len(runners)) as executor:
        said = list(executor.map(claim, range(len(runners))))
    winner = f"racer-{said.index('created')}"
    sentence = (
        f"host {host} is taken: {_claims.claim_of(host)} says that tenant {winner} has claimed it; choose another host name (tenant_host), "
        f"or remove tenant {winner}, which releases it"
    )
    assert sorted(said) == ["created"] + [sentence] * 7
    assert _claims.take(admin, winner, host).action == "unchanged"
    for number in range(len(runners)):
        _claims.release(admin, f"racer-{number}")
    assert _claims.holder(admin, host) is None


def test_the_second_tenant_of_a_host_is_refused_and_leaves_nothing(make: Callable[[], Guarded], admin: Resources) -> None:
    first, second = make(), make()
    assert not first.converge().get("failed")
    result = second.converge(host=first.host.upper())
    assert result["msg"].startswith(f"host {first.host} is taken: ConfigMap barberpro-system/host-")
    assert f"says that tenant {first.name} has claimed it; choose another host name (tenant_host)" in result["msg"]
    assert admin.list("v1", "Namespace", labels=f"barberpro.platform/tenant={second.name}") == []
    assert (claims(admin, first), claims(admin, second)) == ([first.host], [])
    check = {"check": "name_free", "namespace": second.namespace, "host": first.host, "tenant": second.name}
    gate = modules.call(stage_gate, {"stage": "validation", "budget_seconds": 30, "checks": [check], "kubeconfig": second.kubeconfig})
    assert f"host {first.host} is taken: tenant {first.name} has claimed it; choose another host name, or remove that tenant" in gate["msg"]


def test_a_claim_goes_with_its_tenant(make: Callable[[], Guarded], admin: Resources) -> None:
    first, second = make(), make()
    assert not first.converge().get("failed")
    assert first.converge()["changed"] is False
    assert first.converge(state="absent", objects=[], confirm=first.name)["changed"] is True
    assert claims(admin, first) == []
    result = second.converge(host=first.host)
    assert not result.get("failed"), result
    assert claims(admin, second) == [first.host]


def test_an_undone_first_deploy_gives_its_host_back(make: Callable[[], Guarded], admin: Resources) -> None:
    tenant = make()
    assert not tenant.converge().get("failed")
    result = released(tenant, "reverted")
    assert result["removed_tenant"] is True
    assert any(change["object"].startswith("ConfigMap barberpro-system/host-") and change["action"] == "deleted" for change in result["changes"])
    assert claims(admin, tenant) == []


def test_a_claim_of_a_run_that_was_killed_at_once_is_given_back_too(make: Callable[[], Guarded], admin: Resources) -> None:
    tenant, neighbour = make(), make()
    for one in (tenant, neighbour):
        _claims.take(admin, one.name, one.host)
    released(tenant, "reverted")
    assert (claims(admin, tenant), claims(admin, neighbour)) == ([], [neighbour.host])
    assert not neighbour.converge().get("failed")


def test_a_new_host_is_taken_beside_the_old_until_the_run_has_ended(make: Callable[[], Guarded], admin: Resources) -> None:
    tenant, neighbour = make(), make()
    old, new, third = (f"{tenant.name}-{number}.{ZONE}" for number in range(3))
    deploy(tenant, old)
    deploy(tenant, new, until="promoted")
    assert claims(admin, tenant) == [old, new]
    released(tenant, "reverted", previous=1)
    assert claims(admin, tenant) == [old]
    deploy(tenant, new)
    assert claims(admin, tenant) == [new]
    released(tenant, "rolled_back", to_revision=1)
    assert claims(admin, tenant) == [old]
    assert not neighbour.converge(host=new).get("failed")
    assert f"host {new} is taken" in tenant.converge(host=new)["msg"]
    deploy(tenant, third)
    assert (claims(admin, tenant), claims(admin, neighbour)) == ([third], [new])


def hosts(admin: Resources, tenant: Guarded) -> set[str]:
    """Return the hosts that the tenant's Namespace and its routes name."""
    spaces = [item for item in admin.list("v1", "Namespace") if item["metadata"]["name"] == tenant.namespace]
    routes = admin.list("gateway.networking.k8s.io/v1", "HTTPRoute", tenant.namespace)
    assert sorted(item["metadata"]["name"] for item in routes) == ["main", "redirect"]
    return {spaces[0]["metadata"]["annotations"]["barberpro.platform/host"], *(host for item in routes for host in item["spec"]["hostnames"])}


def test_routes_follow_the_host_and_come_back_with_it(make: Callable[[], Guarded], admin: Resources, gateway: None) -> None:
    tenant = make()
    old, new = (f"{tenant.name}-{number}.{ZONE}" for number in range(2))
    deploy(tenant, old, "promotion")
    assert hosts(admin, tenant) == {old}
    planned = released(tenant, "planned", objects=tenant.objects(new, "infrastructure", "promotion"), preflight_namespace=NAMESPACES["preflight"])
    assert {change["object"]: change["action"] for change in planned["changes"] if "HTTPRoute" in change["object"]} == {
        f"HTTPRoute {tenant.namespace}/main": "changed", f"HTTPRoute {tenant.namespace}/redirect": "changed",
    }
    assert (hosts(admin, tenant), claims(admin, tenant)) == ({old}, [old])
    for until in ("staged", "promoted"):
        deploy(tenant, new, "promotion", until=until)
        released(tenant, "reverted", previous=1)
        assert (hosts(admin, tenant), claims(admin, tenant)) == ({old}, [old])
    deploy(tenant, new, "promotion")
    assert (hosts(admin, tenant), claims(admin, tenant)) == ({new}, [new])
    newest = released(tenant, "planned", objects=tenant.objects(new, "infrastructure", "promotion"), preflight_namespace=NAMESPACES["preflight"])
    assert newest["changed"] is False
    released(tenant, "rolled_back", to_revision=1)
    assert (hosts(admin, tenant), claims(admin, tenant)) == ({old}, [old])
    # As if a gate behind it had failed.
    released(tenant, "reverted", previous=newest["number"])
    assert (hosts(admin, tenant), claims(admin, tenant)) == ({new}, [new])


def test_a_host_that_the_owner_s_routes_still_name_is_nobody_else_s(make: Callable[[], Guarded], admin: Resources) -> None:
    tenant, neighbour = make(), make()
    old, new = (f"{tenant.name}-{number}.{ZONE}" for number in range(2))
    deploy(tenant, old)
    owner = tenant.person("owner")
    routes = {name: changed(good(tenant)["route"], "metadata.name", name) for name in ("mine", "www")}
    for route, host in ((routes["mine"], old), (routes["www"], f"www.{old}")):
        route["spec"]["hostnames"] = [host]
        assert owner.create(route, dry_run=False) == ""
    objects = tenant.objects(new)
    deploy(tenant, new, until="promoted")
    kept = (
        f"tenant {tenant.name} keeps the host {old}: HTTPRoute {tenant.namespace}/mine ({old}), HTTPRoute {tenant.namespace}/www (www.{old}) is none of the "
        "platform's routes and answers there, so nobody else may have the host; have the tenant's owner change or delete what is named, then deploy the "
        "tenant again, which gives the host back"
    )
    finished = released(tenant, "finished", objects=objects)
    assert (finished["warnings"], claims(admin, tenant)) == ([kept], [old, new])
    planned = released(tenant, "planned", objects=objects, preflight_namespace=NAMESPACES["preflight"])
    assert (planned["changed"], planned["warnings"]) == (False, [kept])
    assert f"host {old} is taken: " in neighbour.converge(host=old)["msg"]
    admin.delete(Ref.of(routes["mine"]))
    assert released(tenant, "finished", objects=objects)["warnings"][0].startswith(
        f"tenant {tenant.name} keeps the host {old}: HTTPRoute {tenant.namespace}/www (www.{old}) is none of the platform's routes"
    )
    assert owner.patch(Ref.of(routes["www"]), {"spec": {"hostnames": [f"www.{new}"]}}, dry_run=False) == ""
    planned = released(tenant, "planned", objects=objects, preflight_namespace=NAMESPACES["preflight"])
    assert [(change["object"], change["action"]) for change in planned["changes"]] == [(str(_claims.claim_of(old)), "deleted")]
    assert "warnings" not in released(tenant, "finished", objects=objects)
    assert claims(admin, tenant) == [new]
    assert not neighbour.converge(host=old).get("failed")


def test_a_new_host_is_in_force_when_the_module_returns(make: Callable[[], Guarded], admin: Resources) -> None:
    tenant = make()
    for number in range(5):
        host = f"{tenant.name}-{number}.{ZONE}"
        result = tenant.converge(host=host)
        assert not result.get("failed"), result
        route = changed(good(tenant)["route"], "spec.hostnames", [host])
        assert tenant.person("stranger").create(route).startswith("httproutes") or admin.create(route, dry_run=True)
        before = changed(route, "spec.hostnames", [f"{tenant.name}-{number - 1}.{ZONE}"])
        with pytest.raises(PlatformError, match=f"control host-names: .* the tenant of this namespace has only {host} and names below it"):
            admin.create(before, dry_run=True)
    # What is not undone or finished yet may still have to go back to an earlier host.
    assert len(claims(admin, tenant)) == 5


def test_a_namespace_without_guard_rails_is_not_handed_over(make: Callable[[], Guarded]) -> None:
    tenant = make()
    objects = tenant.objects()
    for obj in objects:
        obj["metadata"]["labels"].pop("guarded.test/tenant", None)
    # Everything is there and its quotas bind, so that the seconds below are spent on the guard rails alone.
    assert tenant.converge(objects=objects, guarded=False).get("failed") is None
    result = tenant.converge(objects=objects, wait_timeout=3)
    assert result["failed"], json.dumps(result)
    assert result["msg"].startswith(
        f"Namespace {tenant.namespace}: an HTTPRoute for guard-probe.invalid must be refused there by control host-names with the tenant's host {tenant.host}, "
    )
    assert result["msg"].endswith("the API server still admits it; run deploy_platform.yml, which installs the admission policies, and deploy again")
