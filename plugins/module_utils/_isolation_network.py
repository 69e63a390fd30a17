# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network part of the isolation report: tenants as groups of classes, who reaches whom, what they share, what they reach outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._addresses import Range, pod_ranges
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import listed
from ansible_collections.barberpro.platform.plugins.module_utils._policies import Policy, Rule, merged, port_words, resolve
from ansible_collections.barberpro.platform.plugins.module_utils._reachability import Path, Pod, PodClass, Reachability, members

Obj = Mapping[str, Any]
# A pod that could be started in a tenant's namespace and that no workload owns: what it may reach, the namespace lets anybody reach.
ANY_POD = "(any other pod)"
EVERYWHERE = "0.0.0.0/0, ::/0"


@dataclass
class World:
    """What is looked at: ``tenants`` maps namespaces to tenants, ``shared`` are namespaces that tenants may talk to as declared."""

    namespaces: dict[str, Mapping[str, str]]
    tenants: dict[str, str]
    shared: frozenset[str]
    pods: list[Pod]
    policies: list[Policy]
    # Where a pod that has no address yet may get one.
    ranges: tuple[Range, ...] = ()
    # Pods with their node's network, which no policy governs: NAMESPACE/NAME.
    host_network: list[str] = field(default_factory=list)


def world(
    namespaces: Iterable[Obj], tenants: dict[str, str], shared: Iterable[str], pods: Iterable[Obj], policies: Iterable[Obj], nodes: Iterable[Obj] = ()
) -> World:
    """Return the world of objects as the API server lists them. Pods that have ended have no network any more."""
    labels = {str(item["metadata"]["name"]): item["metadata"].get("labels") or {} for item in namespaces}
    found = World(labels, tenants, frozenset(shared), [], [Policy.of(policy) for policy in policies])
    for pod in pods:
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        if spec.get("hostNetwork"):
            found.host_network.append(f"{metadata['namespace']}/{metadata['name']}")
        else:
            found.pods.append(Pod.of(pod))
    found.ranges = pod_ranges(nodes, (pod.addresses for pod in found.pods))
    found.pods += [Pod(namespace, ANY_POD, {}) for namespace in tenants]
    return found


class Network:
    """Who reaches whom in a world, by groups: a tenant, or a namespace that is neither a tenant's nor shared."""

    def __init__(self, world: World, only: Iterable[str] = ()) -> None:
        """Compute; with ``only``, pairs in which none of these tenants takes part do not count."""
        self.world = world
        self.model = Reachability(world.namespaces, world.pods, world.policies, world.ranges)
        self.tenants = sorted(set(world.tenants.values()))
        foreign = sorted(name for name in self.model.in_namespace if name not in world.tenants and name not in world.shared)
        self.names = [*self.tenants, *foreign]
        # Numbered apart: a namespace that is no tenant's may have a tenant's name, and would otherwise be taken for that tenant.
        number = {tenant: group for group, tenant in enumerate(self.tenants)}
        place = {namespace: number[tenant] for namespace, tenant in world.tenants.items()}
        place |= {name: group for group, name in enumerate(foreign, len(self.tenants))}
        self.bits = [0] * len(self.names)
        self.group_of = [place.get(item.namespace, -1) for item in self.model.classes]
        for item, group in enumerate(self.group_of):
            if group >= 0:
                self.bits[group] |= 1 << item
        self.own = {namespace: self.bits[group] for namespace, group in place.items()}
        asked = set(only)
        self.counted = sum(1 << group for group, name in enumerate(self.tenants) if not asked or name in asked)
        self.reach = self._reach()

    def _reach(self) -> list[int]:
        """Return the groups that each group reaches, as bits."""
        guarded = 0
        for bits in self.bits:
            guarded |= bits
        reach = [0] * len(self.names)
        for sources, targets, _ports in self.model.products(guarded, guarded, self.own):
            to = self._groups(targets)
            for group in members(self._groups(sources)):
                reach[group] |= to
        # One of the two is a tenant that was asked for; within a group everything may be open.
        return [(bits if self.counted >> group & 1 else bits & self.counted) & ~(1 << group) for group, bits in enumerate(reach)]

    def _groups(self, classes: int) -> int:
        found = 0
        for item in members(classes):
            found |= 1 << self.group_of[item]
        return found

    @property
    def pairs(self) -> int:
        """Return how many ordered pairs of tenants were compared."""
        asked, all_tenants = self.counted.bit_count(), len(self.tenants)
        return all_tenants * (all_tenants - 1) - (all_tenants - asked) * max(0, all_tenants - asked - 1)

    @property
    def open_pairs(self) -> int:
        """Return how many ordered pairs of groups are open, those with a namespace that is no tenant's included."""
        return sum(bits.bit_count() for bits in self.reach)

    def paths(self) -> Iterator[tuple[int, int, Path]]:
        """Yield every open path as (source group, target group, path)."""
        for group, targets in enumerate(self.reach):
            for other in members(targets):
                for source in members(self.bits[group]):
                    for target in members(self.bits[other]):
                        path = self.model.path(source, target)
                        if path:
                            yield group, other, path

    def describe(self, group: int, other: int, path: Path) -> dict[str, Any]:
        """Return a path as it stands in the report."""
        source, target = self.model.classes[path.source], self.model.classes[path.target]
        ports = port_words(path.ports)
        sides = [f"egress {_by(path.egress, source)}", f"ingress {_by(path.ingress, target)}"]
        return {
            "from": self._end(group, source),
            "to": self._end(other, target),
            "ports": ports,
            "egress": list(path.egress),
            "ingress": list(path.ingress),
            "sentence": f"{_name(source)} reaches {_name(target)} on {listed(ports)}: {', '.join(sides)}",
        }

    def _end(self, group: int, item: PodClass) -> dict[str, Any]:
        tenant = self.names[group] if group < len(self.tenants) else None
        return {"tenant": tenant, "namespace": item.namespace, "pod": item.pods[0], "pods": len(item.pods)}

    def shared(self) -> list[dict[str, Any]]:
        """Return what tenants and shared namespaces open to one another, by namespace and direction."""
        tenants = 0
        for group in range(len(self.tenants)):
            tenants |= self.bits[group]
        found: dict[tuple[str, str], tuple[int, list[Any]]] = defaultdict(lambda: (0, []))
        for namespace in sorted(self.world.shared & self.model.in_namespace.keys()):
            common = self.model.in_namespace[namespace]
            for direction, sources, targets in (("from tenants", tenants, common), ("to tenants", common, tenants)):
                for left, right, ports in self.model.products(sources, targets, {}):
                    groups, known = found[namespace, direction]
                    found[namespace, direction] = (groups | self._groups(left if direction == "from tenants" else right), [*known, *ports])
        return [
            {"namespace": namespace, "direction": direction, "tenants": groups.bit_count(), "ports": port_words(merged(ports))}
            for (namespace, direction), (groups, ports) in sorted(found.items())
        ]

    def outside(self) -> list[dict[str, Any]]:
        """Return the addresses outside of the cluster that tenants may reach, each with the tenants and one of the policies."""
        found: dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[set[str], str]] = {}
        for policy in self.world.policies:
            tenant = self.world.tenants.get(policy.namespace)
            for rule in policy.egress or () if tenant else ():
                for cidr, excluded in _blocks(rule):
                    key = (cidr, excluded, tuple(_rule_ports(rule)))
                    found.setdefault(key, (set(), policy.path))[0].add(str(tenant))
        for item, group in enumerate(self.group_of):
            if 0 <= group < len(self.tenants) and self.model.egress[item] is None:  # no policy says that it may, and none that it may not
                found.setdefault((EVERYWHERE, (), ("all ports",)), (set(), ""))[0].add(self.names[group])
        return [
            {"cidr": cidr, "except": list(excluded), "ports": list(ports), "tenants": len(tenants), "tenant": min(tenants), "policy": policy or None}
            for (cidr, excluded, ports), (tenants, policy) in sorted(found.items())
        ]

    def without_pods(self) -> list[str]:
        """Return the tenants that run nothing now; what is said of them is said of any pod that they may start."""
        busy = {self.world.tenants[item.namespace] for item in self.model.classes if item.namespace in self.world.tenants and item.pods != [ANY_POD]}
        return sorted(set(self.tenants) - busy)


def _blocks(rule: Rule) -> Iterator[tuple[str, tuple[str, ...]]]:
    if rule.peers is None:
        yield EVERYWHERE, ()
    for peer in rule.peers or ():
        if peer.block:
            yield peer.block.cidr, peer.block.excluded


def _rule_ports(rule: Rule) -> list[str]:
    """Return a rule's ports in words, names of ports as they stand: outside of the cluster nothing resolves them."""
    numbers = port_words(resolve(rule.ports, ()))
    return numbers + [f"{term.protocol} {term.port}" for term in rule.ports or () if isinstance(term.port, str)]


def _name(item: PodClass) -> str:
    more = f" and {len(item.pods) - 1} like it" if len(item.pods) > 1 else ""
    return f"{item.namespace}/{item.pods[0]}{more}"


def _by(policies: tuple[str, ...], item: PodClass) -> str:
    """Say what opens one side."""
    return f"allowed by {listed(list(policies))}" if policies else f"not limited (no policy of {item.namespace} selects it)"
