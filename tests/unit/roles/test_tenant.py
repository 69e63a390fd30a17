"""What the templates of a tenant make of what the platform says of itself."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks import renders


def gateway_policies(**facts: Any) -> dict[str, str]:
    """Return the namespace that each policy for the gateway lets in, by the policy's name without its hash."""
    objects = renders.barbershop("small", "small", platform={**renders.PLATFORM, **facts})
    found = {}
    for item in objects:
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"].startswith("allow-gateway-"):
            ((peer,),) = [rule["from"] for rule in item["spec"]["ingress"]]
            found[re.sub("-[0-9a-f]{8}$", "", item["metadata"]["name"])] = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return found


def test_the_proxies_of_an_existing_gateway_are_let_in_and_its_routes_name_the_gateway() -> None:
    assert gateway_policies(gateway_proxy_namespace="kong") == {"allow-gateway-booking": "kong", "allow-gateway-walkin-queue": "kong"}
    routes = [item for item in renders.barbershop("small", "small", platform={**renders.PLATFORM, "gateway_proxy_namespace": "kong"})
              if item["kind"] == "HTTPRoute"]
    assert {parent["namespace"] for route in routes for parent in route["spec"]["parentRefs"]} == {"barberpro-gateway"}


def test_a_platform_that_was_installed_before_has_its_proxies_beside_the_gateway() -> None:
    assert set(gateway_policies().values()) == {"barberpro-gateway"}


def test_pods_pull_with_the_credentials_of_the_registry_and_none_of_the_tenants_reads_them() -> None:
    objects = renders.barbershop("small", "small", pull_secrets=["registry"])
    accounts = {item["metadata"]["name"]: item.get("imagePullSecrets") for item in objects if item["kind"] == "ServiceAccount"}
    assert accounts == {name: [{"name": "registry"}] for name in ("default", "booking", "walkin-queue")}
    (namespace,) = [item for item in objects if item["kind"] == "Namespace"]
    assert "registry" in namespace["metadata"]["annotations"]["barberpro.platform/secrets"].split()


def test_an_open_registry_needs_none_and_its_secret_is_kept_from_the_tenants_pods_before_it_is_there() -> None:
    objects = renders.barbershop("small", "small")
    assert not [item for item in objects if "imagePullSecrets" in item]
    (namespace,) = [item for item in objects if item["kind"] == "Namespace"]
    assert "registry" in namespace["metadata"]["annotations"]["barberpro.platform/secrets"].split()


def policies(**more: Any) -> dict[str, Any]:
    """Return what each policy of a tenant opens, by its name."""
    objects = renders.barbershop("small", "small", **{"egress": {"booking": [rule("203.0.113.0/24")]}, **more})
    return {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "NetworkPolicy"}


def rule(cidr: str, port: int = 443) -> dict[str, Any]:
    """Return a declared range as the templates see it."""
    return {"cidr": cidr, "port": port, "protocol": "TCP", "except": []}


def workloads(port: int) -> dict[str, Any]:
    """Return the barbershop's workloads, the booking service on a port."""
    found = {**renders.defaults("vertical_base")["vertical_base_workloads"], **renders.defaults("barbershop")["barbershop_workloads"]}
    return {**found, "booking": {**found["booking"], "port": port}}


@pytest.mark.parametrize(
    ("more", "edges"),
    [
        ({"egress": {"booking": [rule("203.0.113.0/24"), rule("198.51.100.0/24")]}}, ["booking-outside"]),
        ({"egress": {"booking": [rule("198.51.100.0/24")]}}, ["booking-outside"]),
        ({"workloads": workloads(8181)}, ["gateway-booking", "walkin-queue-to-booking-in", "walkin-queue-to-booking-out"]),
        ({"platform": {**renders.PLATFORM, "gateway_proxy_namespace": "kong"}}, ["gateway-booking", "gateway-walkin-queue"]),
    ],
    ids=["more", "another", "port", "proxies"],
)
def test_what_an_edge_opens_is_never_changed_under_the_pods_that_serve(more: dict[str, Any], edges: list[str]) -> None:
    before, after = policies(), policies(**more)
    assert {name: before[name] for name in before.keys() & after.keys()} == {name: after[name] for name in before.keys() & after.keys()}
    for alone in (before.keys() - after.keys(), after.keys() - before.keys()):
        assert sorted(re.sub(r"^allow-(.*)-[0-9a-f]{8}$", r"\1", name) for name in alone) == edges
    assert policies() == before
