"""NetworkPolicies asked pod by pod, straight from the documents: slow, and without any idea that the fast model has."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Any


def _selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for item in selector.get("matchExpressions", []):
        value = labels.get(item["key"])
        holds = {
            "In": value is not None and value in item.get("values", []),
            "NotIn": value is None or value not in item.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[item["operator"]]:
            return False
    return True


@cache
def _holds(address: str, ranges: tuple[str, ...], cidr: str, excluded: tuple[str, ...]) -> bool:
    """Whether an address, or without one any of the ranges, is in a block."""
    places = [ipaddress.ip_address(address)] if address else [place for text in ranges for place in ipaddress.ip_network(text)]
    return any(place in ipaddress.ip_network(cidr) and not any(place in ipaddress.ip_network(hole) for hole in excluded) for place in places)


def _peer(world: dict[str, Any], peer: dict[str, Any], namespace: str, pod: dict[str, Any]) -> bool:
    if "ipBlock" in peer:
        return _holds(pod["address"], world.get("ranges", ()), peer["ipBlock"]["cidr"], tuple(peer["ipBlock"].get("except", ())))
    if "namespaceSelector" in peer:
        if not _selected(peer["namespaceSelector"], world["namespaces"][pod["namespace"]]):
            return False
    elif pod["namespace"] != namespace:
        return False
    return _selected(peer.get("podSelector", {}), pod["labels"])


def _port(entry: dict[str, Any], target: dict[str, Any], protocol: str, number: int) -> bool:
    if entry.get("protocol", "TCP") != protocol:
        return False
    port = entry.get("port")
    if isinstance(port, str):
        return any((known["name"], known["protocol"], known["port"]) == (port, protocol, number) for known in target["ports"])
    return port is None or port <= number <= entry.get("endPort", port)


def _side(world: dict[str, Any], direction: str, own: dict[str, Any], other: dict[str, Any], target: dict[str, Any], protocol: str, number: int) -> bool:
    isolated = False
    for policy in world["policies"]:
        spec = policy["spec"]
        types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        if policy["metadata"]["namespace"] != own["namespace"] or not _selected(spec["podSelector"], own["labels"]) or direction not in types:
            continue
        isolated = True
        for rule in spec.get(direction.lower(), []):
            peers = rule.get("from" if direction == "Ingress" else "to") or []
            if peers and not any(_peer(world, peer, own["namespace"], other) for peer in peers):
                continue
            entries = rule.get("ports") or []
            if not entries or any(_port(entry, target, protocol, number) for entry in entries):
                return True
    return not isolated


def reaches(world: dict[str, Any], source: dict[str, Any], target: dict[str, Any], protocol: str, number: int) -> bool:
    """Whether a pod of a world may connect to a port of another one."""
    arguments = (target, protocol, number)
    return _side(world, "Egress", source, target, *arguments) and _side(world, "Ingress", target, source, *arguments)
