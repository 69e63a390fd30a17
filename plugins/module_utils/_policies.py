# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NetworkPolicy (networking.k8s.io/v1) means: selectors, peers, ports and directions as values that can be compared.

Pure functions over objects as the API server sends them. Words of the specification that decide are quoted where they are followed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

# Ports of one protocol from the first to the last: (protocol, first, last). A set of ports is a sorted tuple of such ranges without overlaps.
Range = tuple[str, int, int]
Ports = tuple[Range, ...]
ALL_PORTS: Ports = (("SCTP", 1, 65535), ("TCP", 1, 65535), ("UDP", 1, 65535))
# What a pod calls its ports: (name, protocol, number).
NamedPorts = tuple[tuple[str, str, int], ...]


def merged(ranges: Iterable[Range]) -> Ports:
    """Return ranges as a set of ports."""
    found: list[Range] = []
    for protocol, first, last in sorted(ranges):
        if found and found[-1][0] == protocol and first <= found[-1][2] + 1:
            found[-1] = (protocol, found[-1][1], max(last, found[-1][2]))
        else:
            found.append((protocol, first, last))
    return tuple(found)


def common(one: Ports, other: Ports) -> Ports:
    """Return the ports that both sets hold."""
    if one is ALL_PORTS:
        return other
    if other is ALL_PORTS:
        return one
    found = [(p, max(a, c), min(b, d)) for p, a, b in one for q, c, d in other if p == q and max(a, c) <= min(b, d)]
    return merged(found)


def port_words(ports: Ports) -> list[str]:
    """Return ports as people read them: ``all ports``, ``TCP 8080``, ``UDP 1-1023``, ``TCP all``."""
    if ports == ALL_PORTS:
        return ["all ports"]
    words = []
    for protocol, first, last in ports:
        words.append(f"{protocol} all" if (first, last) == (1, 65535) else f"{protocol} {first}" if first == last else f"{protocol} {first}-{last}")
    return words


@dataclass(frozen=True)
class Selector:
    """A label selector; ``equal`` are matchLabels, ``expressions`` are (key, operator, values). An empty one selects everything."""

    equal: tuple[tuple[str, str], ...] = ()
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any] | None, where: str = "") -> Selector:
        """Return the selector of an object's field. Raises PlatformError for an operator that does not exist."""
        document = document or {}
        expressions = []
        for item in document.get("matchExpressions") or []:
            operator = str(item.get("operator"))
            if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
                raise PlatformError(f"{where}: operator {operator} of a label selector is none of In, NotIn, Exists, DoesNotExist; correct the policy")
            expressions.append((str(item.get("key")), operator, tuple(sorted(str(value) for value in item.get("values") or []))))
        equal = tuple(sorted((str(key), str(value)) for key, value in (document.get("matchLabels") or {}).items()))
        return cls(equal, tuple(sorted(expressions)))

    @property
    def keys(self) -> set[str]:
        """Return the labels that it looks at."""
        return {key for key, _value in self.equal} | {key for key, _operator, _values in self.expressions}


@dataclass(frozen=True)
class Block:
    """An ipBlock as numbers: ``version`` 4 or 6, the first and last address, and the ranges that are excepted."""

    cidr: str
    excluded: tuple[str, ...]
    version: int
    first: int
    last: int
    holes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any], where: str = "") -> Block:
        """Return the block of a peer. Raises PlatformError when a CIDR cannot be read."""
        excluded = tuple(sorted(str(cidr) for cidr in document.get("except") or []))
        try:
            network = ipaddress.ip_network(str(document.get("cidr")), strict=False)
            holes = [ipaddress.ip_network(cidr, strict=False) for cidr in excluded]
        except ValueError as error:
            raise PlatformError(f"{where}: ipBlock cannot be read: {error}; correct the policy") from error
        ranges = tuple((int(hole.network_address), int(hole.broadcast_address)) for hole in holes if hole.version == network.version)
        return cls(str(network), excluded, network.version, int(network.network_address), int(network.broadcast_address), ranges)

    def holds(self, address: int) -> bool:
        """Return whether an address of this block's version lies in it and in none of the excepted ranges."""
        return self.first <= address <= self.last and not any(first <= address <= last for first, last in self.holes)

    def meets(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
        """Return whether any address of a network lies in it."""
        if network.version != self.version:
            return False
        place, last = max(self.first, int(network.network_address)), min(self.last, int(network.broadcast_address))
        for start, end in sorted(self.holes):
            if start > place:
                break
            place = max(place, end + 1)
        return place <= last


@dataclass(frozen=True)
class Peer:
    """Who a rule speaks of: pods by ``pods`` in the policy's own ``namespace`` or in those that ``namespaces`` selects, or a ``block``."""

    namespace: str
    namespaces: Selector | None
    pods: Selector
    block: Block | None = None


@dataclass(frozen=True)
class PortTerm:
    """One entry of a rule's ports: a number, a name or, when ``port`` is None, all of the protocol."""

    protocol: str
    port: int | str | None = None
    end: int | None = None


@dataclass(frozen=True)
class Rule:
    """A rule: ``peers`` None is everybody, also outside of the cluster; ``ports`` None is every port."""

    peers: tuple[Peer, ...] | None
    ports: tuple[PortTerm, ...] | None

    @property
    def names(self) -> set[str]:
        """Return the names of ports that it uses."""
        return {term.port for term in self.ports or () if isinstance(term.port, str)}


@dataclass(frozen=True)
class Policy:
    """A policy; ``ingress`` and ``egress`` are None where it does not affect that direction, () where it allows nothing."""

    namespace: str
    name: str
    pods: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    @property
    def path(self) -> str:
        """Return NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the rules of both directions."""
        return (self.ingress or ()) + (self.egress or ())

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Policy:
        """Return the meaning of a NetworkPolicy object. Raises PlatformError naming the policy that cannot be understood."""
        metadata, spec = document["metadata"], document.get("spec") or {}
        namespace, name = str(metadata.get("namespace") or "default"), str(metadata["name"])
        where = f"NetworkPolicy {namespace}/{name}"
        # "If this field is not specified, it will default based on the existence of ingress or egress rules; policies that contain an
        # egress section are assumed to affect egress, and all policies (...) are assumed to affect ingress." The server counts rules.
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        return cls(
            namespace,
            name,
            Selector.of(spec.get("podSelector"), where),
            tuple(_rule(rule, "from", namespace, where) for rule in spec.get("ingress") or []) if "Ingress" in types else None,
            tuple(_rule(rule, "to", namespace, where) for rule in spec.get("egress") or []) if "Egress" in types else None,
        )


def _rule(document: Mapping[str, Any], side: str, namespace: str, where: str) -> Rule:
    """Return a rule; ``side`` is the field with its peers."""
    # "If this field is empty or missing, this rule matches all sources" (destinations, ports).
    peers = tuple(_peer(peer, namespace, where) for peer in document.get(side) or []) or None
    ports = tuple(_port(port, where) for port in document.get("ports") or []) or None
    return Rule(peers, ports)


def _peer(document: Mapping[str, Any], namespace: str, where: str) -> Peer:
    if document.get("ipBlock") is not None:
        return Peer(namespace, None, Selector(), Block.of(document["ipBlock"], where))
    spaces = document.get("namespaceSelector")
    if spaces is None and document.get("podSelector") is None:
        raise PlatformError(f"{where}: a peer names neither pods, namespaces nor addresses; correct the policy")
    # "If PodSelector is also set, then the rule selects the pods matching PodSelector in the namespaces selected by NamespaceSelector.
    # Otherwise it selects all pods in the namespaces selected by NamespaceSelector."
    return Peer(namespace, None if spaces is None else Selector.of(spaces, where), Selector.of(document.get("podSelector"), where))


def _port(document: Mapping[str, Any], where: str) -> PortTerm:
    port, end = document.get("port"), document.get("endPort")
    # "If not specified, this field defaults to TCP."
    protocol = str(document.get("protocol") or "TCP")
    if end is not None and not isinstance(port, int):
        raise PlatformError(f"{where}: endPort {end} needs a port that is a number, not {port!r}; correct the policy")
    return PortTerm(protocol, port if port is None or isinstance(port, int) else str(port), None if end is None else int(end))


def resolve(terms: tuple[PortTerm, ...] | None, named: NamedPorts) -> Ports:
    """Return the ports that a rule's entries mean at a pod that names its ports so. A name that the pod does not use means no port."""
    if terms is None:
        return ALL_PORTS
    found: list[Range] = []
    for term in terms:
        if term.port is None:
            found.append((term.protocol, 1, 65535))
        elif isinstance(term.port, int):
            found.append((term.protocol, term.port, term.end or term.port))
        else:
            found += [(protocol, number, number) for name, protocol, number in named if name == term.port and protocol == term.protocol]
    ports = merged(found)
    return ALL_PORTS if ports == ALL_PORTS else ports
