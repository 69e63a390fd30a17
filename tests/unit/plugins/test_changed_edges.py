"""A host that is given up, an edge that a release changes, a Secret that somebody awaits: what is left of each, step by step; the API server is a storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _fleet, _release, _run, _tenant
from ansible_collections.barberpro.platform.plugins.module_utils._claims import claim_of
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

from benchmarks import renders
from tests.support.kept_objects import Kept, kept_objects

SYSTEM, NAMESPACE = "/api/v1/namespaces/barberpro-system", "/api/v1/namespaces/tenant-small-small"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/tenant-small-small/httproutes"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/tenant-small-small/networkpolicies"
SHARED = {"name": "small-small", "namespace": "tenant-small-small", "wait_timeout": 5, "keep": 10, "preflight_namespace": "barberpro-preflight"}
OLD, NEW = "old.example.org", "new.example.org"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    # What is stored is ready.
    for place in (_tenant, _run):
        monkeypatch.setattr(place, "wait_ready", lambda *_arguments: 0.0)
    monkeypatch.setattr(_fleet.Lookout, "wait", lambda *_arguments: 0.0)
    with kept_objects(tmp_path) as found:
        found.put(SYSTEM, {"metadata": {"name": "barberpro-system"}, "status": {"phase": "Active"}})
        metadata = {"name": "tenant-small-small", "labels": {"barberpro.platform/tenant": "small-small"}}
        found.put(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "status": {"phase": "Active"}})
        yield found


def objects(host: str = OLD, cidr: str = "203.0.113.0/24", port: int = 8080) -> list[dict[str, Any]]:
    """Return the Namespace and the policies of a barbershop."""
    workloads = {**renders.defaults("vertical_base")["vertical_base_workloads"], **renders.defaults("barbershop")["barbershop_workloads"]}
    found = renders.barbershop(
        "small", "small", workloads={**workloads, "booking": {**workloads["booking"], "port": port}},
        egress={"booking": [{"cidr": cidr, "port": 443, "protocol": "TCP", "except": []}]},
    )  # fmt: skip
    chosen = [obj for obj in found if obj["kind"] in ("Namespace", "NetworkPolicy")]
    chosen[0]["metadata"]["annotations"]["barberpro.platform/host"] = host
    assert chosen[0]["kind"] == "Namespace"
    return chosen


def client(kept: Kept) -> Client:
    return Client.from_options({"kubeconfig": kept.kubeconfig, "request_timeout": 5, "outage_timeout": 0})


def released(kept: Kept, state: str, **options: Any) -> dict[str, Any]:
    """Take the release to a state."""
    return _release.converge(client(kept), {**SHARED, "state": state, **options}, False)


def deploy(kept: Kept, wanted: list[dict[str, Any]], until: str = "finished") -> dict[str, Any]:
    """Deploy by the steps of the pipeline, the stages of one tenant."""
    _tenant.converge(client(kept), {**SHARED, "state": "present", "objects": wanted}, False)
    for state in ("staged", "promoted", "finished"):
        result = released(kept, state, objects=wanted)
        if state == until:
            break
    return result


def claims(kept: Kept) -> list[str]:
    """Return the hosts that are claimed."""
    return sorted(obj["data"]["host"] for path, obj in kept.objects.items() if path.startswith(f"{SYSTEM}/configmaps/host-"))


def put_route(kept: Kept, name: str, *hosts: str, **labels: str) -> None:
    """Have a route in the namespace, as the tenant's owner makes one."""
    kept.put(f"{ROUTES}/{name}", {"metadata": {"name": name, "namespace": "tenant-small-small", "labels": labels}, "spec": {"hostnames": list(hosts)}})


def sentence(routes: str) -> str:
    return (
        f"tenant small-small keeps the host {OLD}: {routes} is none of the platform's routes and answers there, so nobody else may have the host; have the "
        "tenant's owner change or delete what is named, then deploy the tenant again, which gives the host back"
    )


def test_a_host_that_the_owners_routes_name_is_kept_until_a_run_finds_it_free(kept: Kept) -> None:
    deploy(kept, objects(OLD))
    put_route(kept, "mine", "else.example.org", OLD)
    put_route(kept, "www", f"*.{OLD}")
    put_route(kept, "main", NEW, **{"app.kubernetes.io/managed-by": "barberpro.platform"})
    put_route(kept, "alike", f"not{OLD}", "example.org")
    both = sentence(f"HTTPRoute tenant-small-small/mine ({OLD}), HTTPRoute tenant-small-small/www (*.{OLD})")
    assert released(kept, "planned", objects=objects(NEW))["warnings"] == [both]
    finished = deploy(kept, objects(NEW))
    assert (finished["warnings"], finished["current"], claims(kept)) == ([both], 2, [NEW, OLD])
    planned = released(kept, "planned", objects=objects(NEW))
    assert (planned["changed"], planned["warnings"]) == (False, [both])
    del kept.objects[f"{ROUTES}/mine"]
    assert released(kept, "finished", objects=objects(NEW))["warnings"] == [sentence(f"HTTPRoute tenant-small-small/www (*.{OLD})")]
    put_route(kept, "www", f"*.{NEW}")
    planned = released(kept, "planned", objects=objects(NEW))
    assert [(change["object"], change["action"]) for change in planned["changes"]] == [(str(claim_of(OLD)), "deleted")]
    assert released(kept, "finished", objects=objects(NEW))["warnings"] == []
    assert claims(kept) == [NEW]


def test_a_route_of_the_platform_that_still_names_the_host_in_a_plan_keeps_nothing(kept: Kept) -> None:
    deploy(kept, objects(OLD))
    put_route(kept, "main", OLD, **{"app.kubernetes.io/managed-by": "barberpro.platform"})
    planned = released(kept, "planned", objects=objects(NEW))
    assert planned["warnings"] == []
    assert (str(claim_of(OLD)), "deleted") in [(change["object"], change["action"]) for change in planned["changes"]]


def test_a_fleet_warns_too_and_gives_the_host_back_to_a_tenant_that_is_else_as_asked(kept: Kept) -> None:
    def fleet(check: bool = False) -> dict[str, Any]:
        options = {**SHARED, "state": "deployed", "tenants": [{"name": "small-small", "objects": objects(NEW)}]}
        return _fleet.converge(client(kept), options, check)

    deploy(kept, objects(OLD))
    put_route(kept, "mine", OLD)
    warning = sentence(f"HTTPRoute tenant-small-small/mine ({OLD})")
    for result in ("changed", "unchanged"):
        told = fleet()
        assert (told["warnings"], told["tenants"][0]["result"], claims(kept)) == ([warning], result, [NEW, OLD])
        assert "warnings" not in told["tenants"][0]
    del kept.objects[f"{ROUTES}/mine"]
    assert fleet(check=True)["tenants"][0]["changes"] == [{"object": str(claim_of(OLD)), "action": "deleted", "phase": "infrastructure"}]
    assert claims(kept) == [NEW, OLD]
    told = fleet()
    assert (told["warnings"], told["tenants"][0]["result"], claims(kept)) == ([], "changed", [NEW])


def opened(kept: Kept) -> tuple[set[str], set[int]]:
    """Return which addresses booking may call, and on which ports the gateway may call booking."""
    found = {path.rpartition("/")[2]: obj["spec"] for path, obj in kept.objects.items() if path.startswith(POLICIES)}
    outside = {rule["to"][0]["ipBlock"]["cidr"] for name, spec in found.items() if name.startswith("allow-booking-outside") for rule in spec["egress"]}
    ports = {rule["ports"][0]["port"] for name, spec in found.items() if name.startswith("allow-gateway-booking") for rule in spec["ingress"]}
    return outside, ports


def test_what_the_revision_that_serves_needs_is_open_until_the_commit_and_again_before_the_way_back(kept: Kept) -> None:
    before, after = objects(), objects(cidr="198.51.100.0/24", port=8181)
    old, new = ({"203.0.113.0/24"}, {8080}), ({"198.51.100.0/24"}, {8181})
    both = (old[0] | new[0], old[1] | new[1])
    deploy(kept, before)
    assert opened(kept) == old
    deploy(kept, after, until="promoted")
    assert opened(kept) == both
    released(kept, "reverted", previous=1)
    assert opened(kept) == old
    deploy(kept, after)
    assert opened(kept) == new
    released(kept, "rolled_back", to_revision=1)
    assert opened(kept) == old


CREDENTIALS = [{"name": "registry", "type": "kubernetes.io/dockerconfigjson", "secret_data": {".dockerconfigjson": "canary"}}]


@pytest.mark.parametrize("check", [True, False], ids=["plan", "run"])
def test_a_secret_that_a_pod_of_the_tenant_awaits_is_refused_before_anything_is_changed(kept: Kept, check: bool) -> None:
    spec = {"volumes": [{"name": "s", "secret": {"secretName": "registry", "optional": True}}]}
    kept.put(f"{NAMESPACE}/pods/mine", {"metadata": {"name": "mine", "namespace": "tenant-small-small"}, "spec": spec})
    refused = (
        "Secret tenant-small-small/registry is to be made by the platform for its own workloads, and Pod mine of the tenant's own would read it; have the "
        "tenant's owner take it out there (a Secret of another name is the tenant's to make), then run again"
    )
    wanted = {**SHARED, "objects": objects(), "credentials": CREDENTIALS}
    fleet = {**SHARED, "state": "deployed", "tenants": [{"name": "small-small", "objects": objects(), "credentials": CREDENTIALS}]}
    with pytest.raises(PlatformError) as told:
        _tenant.converge(client(kept), {**wanted, "state": "present"}, check)
    assert told.value.message == refused
    with pytest.raises(PlatformError) as told:
        _fleet.converge(client(kept), fleet, check)
    assert told.value.details["tenants"][0]["msg"] == refused
    assert kept.writes() == []
    del kept.objects[f"{NAMESPACE}/pods/mine"]
    _tenant.converge(client(kept), {**wanted, "state": "present"}, check)
    assert (f"{NAMESPACE}/secrets/registry" in kept.objects) is not check


def test_a_pod_that_came_to_await_a_secret_while_the_run_was_on_its_way_is_seen_too(kept: Kept) -> None:
    spec = {"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "registry", "optional": True}}]}]}

    def owner_is_quick(_request: Any) -> None:
        if any(path.startswith(POLICIES) for path in kept.objects):
            kept.objects[f"{NAMESPACE}/pods/mine"] = {"metadata": {"name": "mine", "namespace": "tenant-small-small"}, "spec": spec}

    kept.before = owner_is_quick
    with pytest.raises(PlatformError, match="registry is to be made by the platform for its own workloads, and Pod mine of the tenant's own would read it"):
        _tenant.converge(client(kept), {**SHARED, "state": "present", "objects": objects(), "credentials": CREDENTIALS}, False)
    assert f"{NAMESPACE}/secrets/registry" not in kept.objects
