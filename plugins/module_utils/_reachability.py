# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can connect to whom, computed from NetworkPolicies for all pairs of pods at once.

Pods that no policy can tell apart are one class: same namespace, same labels as far as any selector looks at them, same named ports as
far as any rule uses them, same address blocks (those of any address that it may get where a pod has none yet). Sets of classes are the bits
of one integer, so that a selector is a few ANDs and ORs whatever the number of tenants, and classes whose rules towards others are equal are
compared once. The work is proportional to policies plus what is open; pairs of pods are never listed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._addresses import Range, blocks_of
from ansible_collections.barberpro.platform.plugins.module_utils._policies import (
    ALL_PORTS,
    Block,
    NamedPorts,
    Peer,
    Policy,
    Ports,
    PortTerm,
    Selector,
    common,
    merged,
    resolve,
)

# What a class may do towards others: (ports, bits of the classes). One set of ports may be named more than once.
Term = tuple["tuple[PortTerm, ...] | None", int]
Terms = tuple[Term, ...]
Profile = frozenset[Term]


@dataclass(frozen=True)
class Pod:
    """A pod with its own network: where it is, its ``labels``, its ``addresses`` and what it calls its ``ports``."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...] = ()
    ports: NamedPorts = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Pod:
        """Return the pod of an object as the API server sends it."""
        metadata, spec, status = document["metadata"], document.get("spec") or {}, document.get("status") or {}
        # A sidecar is an init container that goes on running.
        sidecars = [item for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
        ports = {
            (str(port["name"]), str(port.get("protocol") or "TCP"), int(port["containerPort"]))
            for container in [*(spec.get("containers") or []), *sidecars]
            for port in container.get("ports") or []
            if port.get("name")
        }
        addresses = {str(item["ip"]) for item in status.get("podIPs") or [{"ip": status.get("podIP")}] if item.get("ip")}
        return cls(str(metadata["namespace"]), str(metadata["name"]), metadata.get("labels") or {}, tuple(sorted(addresses)), tuple(sorted(ports)))


@dataclass(frozen=True)
class PodClass:
    """Pods that no policy tells apart: the ``pods`` (names), and what they have in common."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    named: NamedPorts
    pods: list[str]


@dataclass(frozen=True)
class Path:
    """An open way from class to class: the ``ports``, and the policies that open it on each side; none when no policy isolates that side."""

    source: int
    target: int
    ports: Ports
    egress: tuple[str, ...]
    ingress: tuple[str, ...]


def members(bits: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


class Index:
    """Which classes have a label: by key and value, and by key alone."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], int] = defaultdict(int)
        self.keys: dict[str, int] = defaultdict(int)

    def add(self, labels: Iterable[tuple[str, str]], bits: int) -> None:
        """Remember that these classes carry these labels."""
        for key, value in labels:
            self.pairs[key, value] |= bits
            self.keys[key] |= bits

    def select(self, selector: Selector, everything: int) -> int:
        """Return the classes that a selector takes."""
        bits = everything
        for pair in selector.equal:
            bits &= self.pairs.get(pair, 0)
        for key, operator, values in selector.expressions:
            having = self.keys.get(key, 0)
            listed = 0
            for value in values:
                listed |= self.pairs.get((key, value), 0)
            # NotIn also takes what does not have the label at all.
            bits &= {"In": listed, "NotIn": ~listed, "Exists": having, "DoesNotExist": ~having}[operator]
        return bits


class Reachability:
    """The classes of a world and what its policies let them do.

    ``namespaces`` maps names to labels; ``ranges`` are where a pod that has no address may get one: it lies in every block that holds one of them.
    """

    def __init__(
        self, namespaces: Mapping[str, Mapping[str, str]], pods: Iterable[Pod], policies: Iterable[Policy], ranges: Iterable[Range] = ()
    ) -> None:
        self.namespaces = namespaces
        self._ranges = tuple(ranges)
        self.policies = [policy for policy in policies if policy.namespace in namespaces]
        self._of_block: dict[Block, int] = defaultdict(int)
        self.classes = self._classify([pod for pod in pods if pod.namespace in namespaces])
        self.everything = (1 << len(self.classes)) - 1
        self._pods, self._spaces = Index(), Index()
        self.in_namespace: dict[str, int] = defaultdict(int)
        for number, item in enumerate(self.classes):
            self._pods.add(item.labels, 1 << number)
            self.in_namespace[item.namespace] |= 1 << number
        for name, bits in list(self.in_namespace.items()):
            self._spaces.add(namespaces[name].items(), bits)
        self._known: dict[Selector, tuple[int, int]] = {}
        # Policies that select a class, by direction; None where there is none, so that the class is not isolated.
        self.egress: list[list[int] | None] = [None] * len(self.classes)
        self.ingress: list[list[int] | None] = [None] * len(self.classes)
        self.opens: list[dict[str, Terms]] = []
        for number, policy in enumerate(self.policies):
            self._attach(number, policy)

    def _classify(self, pods: Sequence[Pod]) -> list[PodClass]:
        """Group pods into classes, and remember which classes lie in which address block."""
        keys: set[str] = set()
        names: set[str] = set()
        blocks: set[Block] = set()
        for policy in self.policies:
            keys |= policy.pods.keys
            for rule in policy.rules:
                names |= rule.names
                keys.update(*(peer.pods.keys for peer in rule.peers or ()))
                blocks |= {peer.block for peer in rule.peers or () if peer.block}
        inside = blocks_of([pod.addresses for pod in pods], blocks, self._ranges)
        found: dict[tuple[Any, ...], PodClass] = {}
        order: dict[tuple[Any, ...], int] = {}
        for number, pod in enumerate(pods):
            labels = tuple(sorted((key, value) for key, value in pod.labels.items() if key in keys))
            named = tuple(port for port in pod.ports if port[0] in names)
            key = (pod.namespace, labels, named, inside.get(number, frozenset()))
            if key not in found:
                order[key] = len(found)
                found[key] = PodClass(pod.namespace, labels, named, [])
                for block in inside.get(number, ()):
                    self._of_block[block] |= 1 << order[key]
            found[key].pods.append(pod.name)
        return list(found.values())

    def _select(self, selector: Selector) -> tuple[int, int]:
        """Return the classes whose pods, and those whose namespaces, a selector takes."""
        if selector not in self._known:
            self._known[selector] = (self._pods.select(selector, self.everything), self._spaces.select(selector, self.everything))
        return self._known[selector]

    def _peer(self, peer: Peer) -> int:
        if peer.block:
            return self._of_block.get(peer.block, 0)
        spaces = self.in_namespace.get(peer.namespace, 0) if peer.namespaces is None else self._select(peer.namespaces)[1]
        return spaces & self._select(peer.pods)[0]

    def _attach(self, number: int, policy: Policy) -> None:
        """Note what a policy opens, and the classes that it isolates."""
        opens: dict[str, Terms] = {}
        for direction, rules in (("egress", policy.egress), ("ingress", policy.ingress)):
            terms = []
            for rule in rules or ():
                bits = self.everything if rule.peers is None else 0
                for peer in rule.peers or ():
                    bits |= self._peer(peer)
                terms.append((rule.ports, bits))
            opens[direction] = tuple(terms)
        self.opens.append(opens)
        for item in members(self.in_namespace.get(policy.namespace, 0) & self._select(policy.pods)[0]):
            for isolated, rules in ((self.egress, policy.egress), (self.ingress, policy.ingress)):
                if rules is not None:
                    isolated[item] = [*(isolated[item] or []), number]

    def _terms(self, item: int, direction: str, others: int) -> Terms:
        """Return what a class may do towards ``others`` in a direction."""
        chosen = (self.egress if direction == "egress" else self.ingress)[item]
        if chosen is None:
            return ((None, others),)
        return tuple((ports, bits & others) for number in chosen for ports, bits in self.opens[number][direction] if bits & others)

    def _profiles(self, classes: int, direction: str, others: int, own: Mapping[str, int]) -> dict[Profile, int]:
        """Group classes by what they may do towards ``others`` outside of their own group; those that may do nothing are left out."""
        found: dict[Profile, int] = defaultdict(int)
        for item in members(classes):
            mine = own.get(self.classes[item].namespace, 0)
            # Rules that stay within the group differ from group to group and open nothing to others.
            terms = frozenset(term for term in self._terms(item, direction, others) if term[1] & ~mine)
            if terms:
                found[terms] |= 1 << item
        return found

    def products(self, sources: int, targets: int, own: Mapping[str, int]) -> Iterator[tuple[int, int, Ports]]:
        """Yield what is open as (source classes, target classes, ports): every one of the first reaches every one of the second.

        ``own`` maps a namespace to the classes of its own group; ways within a group may be among those yielded.
        """
        entering = self._profiles(targets, "ingress", sources, own)
        profile_of = {item: (terms, bits) for terms, bits in entering.items() for item in members(bits)}
        entered = sum(entering.values())
        for leaving, origin in self._profiles(sources, "egress", targets, own).items():
            rest = entered & _union(leaving)
            while rest:
                terms, bits = profile_of[(rest & -rest).bit_length() - 1]
                rest &= ~bits
                for ports_out, to in leaving:
                    for ports_in, by in terms:
                        if origin & by and bits & to:
                            yield from self._with_ports(origin & by, bits & to, ports_out, ports_in)

    def _with_ports(
        self, sources: int, targets: int, leaving: tuple[PortTerm, ...] | None, entering: tuple[PortTerm, ...] | None
    ) -> Iterator[tuple[int, int, Ports]]:
        """Yield the part of a product on which both sides agree on a port; what a port's name means, the target says."""
        by_names: dict[NamedPorts, int] = defaultdict(int)
        if any(isinstance(term.port, str) for term in (*(leaving or ()), *(entering or ()))):
            for item in members(targets):
                by_names[self.classes[item].named] |= 1 << item
        else:
            by_names[()] = targets
        for named, bits in by_names.items():
            ports = common(resolve(leaving, named), resolve(entering, named))
            if ports:
                yield sources, bits, ports

    def path(self, source: int, target: int) -> Path | None:
        """Return what is open from class to class, None when nothing is."""
        leaving, entering = self._side(source, "egress", target, target), self._side(target, "ingress", source, target)
        ports = common(merged(item for _name, part in leaving for item in part), merged(item for _name, part in entering for item in part))
        if not ports:
            return None

        def blamed(side: list[tuple[str, Ports]]) -> tuple[str, ...]:
            return tuple(sorted({name for name, part in side if name and common(part, ports)}))

        return Path(source, target, ALL_PORTS if ports == ALL_PORTS else ports, blamed(leaving), blamed(entering))

    def _side(self, item: int, direction: str, other: int, target: int) -> list[tuple[str, Ports]]:
        """Return (policy, ports) for each rule of a class that lets it deal with another; no policy's name where nothing isolates it."""
        chosen = (self.egress if direction == "egress" else self.ingress)[item]
        if chosen is None:
            return [("", ALL_PORTS)]
        named = self.classes[target].named
        return [(self.policies[n].path, resolve(ports, named)) for n in chosen for ports, bits in self.opens[n][direction] if bits >> other & 1]


def _union(terms: Iterable[Term]) -> int:
    bits = 0
    for _ports, part in terms:
        bits |= part
    return bits
