"""What the templates of a tenant make of what the platform says of itself."""

from __future__ import annotations

from typing import Any

from benchmarks import renders


def gateway_policies(**facts: Any) -> dict[str, str]:
    """Return the namespace that each policy for the gateway lets in, by the policy's name."""
    objects = renders.barbershop("small", "small", platform={**renders.PLATFORM, **facts})
    found = {}
    for item in objects:
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"].startswith("allow-gateway-"):
            ((peer,),) = [rule["from"] for rule in item["spec"]["ingress"]]
            found[item["metadata"]["name"]] = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
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


def test_an_open_registry_needs_none() -> None:
    objects = renders.barbershop("small", "small")
    assert not [item for item in objects if "imagePullSecrets" in item]
    (namespace,) = [item for item in objects if item["kind"] == "Namespace"]
    assert "registry" not in namespace["metadata"]["annotations"]["barberpro.platform/secrets"].split()
