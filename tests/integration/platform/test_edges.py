"""What a release changes of an edge between pods opens beside what was open before, which is closed when the deploy commits and not under who serves."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

from .conftest import Guarded, defaults
from .test_claims import released

pytestmark = pytest.mark.simulated
BEFORE, AFTER = "203.0.113.0/24", "198.51.100.0/24"


@pytest.fixture
def tenant(platform: None, admin: Resources, simulated_kubeconfig: str) -> Iterator[Guarded]:
    """A tenant of the test's own."""
    made = Guarded(f"edge-{uuid.uuid4().hex[:6]}", "small", simulated_kubeconfig)
    yield made
    made.clear_away(admin)


def release(tenant: Guarded, cidr: str, port: int) -> list[dict[str, Any]]:
    """Return the infrastructure of a release whose booking service calls an address outside and listens on a port."""
    workloads = {**defaults("vertical_base")["vertical_base_workloads"], **defaults("barbershop")["barbershop_workloads"]}
    booking = {**workloads["booking"], "port": port}
    egress = {"booking": [{"cidr": cidr, "port": 443, "protocol": "TCP", "except": []}]}
    return tenant.objects(workloads={**workloads, "booking": booking}, egress=egress)


def deploy(tenant: Guarded, objects: list[dict[str, Any]], *states: str) -> None:
    """Take a release as far as some states."""
    assert not tenant.converge(objects=objects).get("failed")
    for state in states:
        released(tenant, state, objects=objects)


def opened(admin: Resources, tenant: Guarded) -> tuple[set[str], set[int], set[int]]:
    """Return which addresses booking may call, and on which ports the gateway and the queue may call booking."""
    specs = {item["metadata"]["name"]: item["spec"] for item in admin.list("networking.k8s.io/v1", "NetworkPolicy", tenant.namespace)}
    outside = {rule["to"][0]["ipBlock"]["cidr"] for name, spec in specs.items() if name.startswith("allow-booking-outside") for rule in spec["egress"]}
    gateway, queue = (
        {rule["ports"][0]["port"] for name, spec in specs.items() if name.startswith(start) for rule in spec["ingress"]}
        for start in ("allow-gateway-booking", "allow-walkin-queue-to-booking-in")
    )
    return outside, gateway, queue


OLD, BOTH, NEW = ({BEFORE}, {8080}, {8080}), ({BEFORE, AFTER}, {8080, 8181}, {8080, 8181}), ({AFTER}, {8181}, {8181})


def test_who_serves_keeps_what_is_open_until_the_commit_and_has_it_back_before_the_route(tenant: Guarded, admin: Resources) -> None:
    before, after = release(tenant, BEFORE, 8080), release(tenant, AFTER, 8181)
    deploy(tenant, before, "staged", "promoted", "finished")
    assert opened(admin, tenant) == OLD
    deploy(tenant, after, "staged", "promoted")
    assert opened(admin, tenant) == BOTH
    released(tenant, "reverted", previous=1)
    assert opened(admin, tenant) == OLD
    deploy(tenant, after, "staged", "promoted", "finished")
    assert opened(admin, tenant) == NEW
    released(tenant, "rolled_back", to_revision=1)
    assert opened(admin, tenant) == OLD


def test_a_tenant_of_before_keeps_policies_of_the_old_names_until_the_commit(tenant: Guarded, admin: Resources) -> None:
    before, after = release(tenant, BEFORE, 8080), release(tenant, AFTER, 8181)
    for obj in before:
        obj["metadata"]["name"] = re.sub("^(allow-.*)-[0-9a-f]{8}$", r"\1", obj["metadata"]["name"])
    assert {"allow-booking-outside", "allow-gateway-booking"} <= {obj["metadata"]["name"] for obj in before}
    deploy(tenant, before, "staged", "promoted", "finished")
    assert opened(admin, tenant) == OLD
    deploy(tenant, after, "staged", "promoted")
    assert opened(admin, tenant) == BOTH
    released(tenant, "finished", objects=after)
    assert opened(admin, tenant) == NEW
