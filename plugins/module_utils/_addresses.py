# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address blocks of policies pods lie in, those that have no address yet too: they lie in every block that holds one that they may get."""

from __future__ import annotations

import bisect
import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ansible_collections.barberpro.platform.plugins.module_utils._policies import Block

Range: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
# Where pods' addresses are when neither nodes nor pods say it.
PRIVATE: tuple[Range, ...] = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))


def pod_ranges(nodes: Iterable[Mapping[str, Any]], pods: Iterable[tuple[str, ...]]) -> tuple[Range, ...]:
    """Return where pods get addresses, of nodes' objects and the live pods' addresses.

    That is the nodes' ranges and, where live pods lie outside of these, since a network may hand out addresses of its own, from the first to the last
    of these pods. Where nobody says anything, every private range counts.
    """
    ranges: set[Range] = set()
    for node in nodes:
        spec = node.get("spec") or {}
        ranges |= {ipaddress.ip_network(str(cidr), strict=False) for cidr in spec.get("podCIDRs") or [spec.get("podCIDR")] if cidr}
    astray: dict[int, list[int]] = defaultdict(list)
    for address in {ipaddress.ip_address(text) for addresses in pods for text in addresses}:
        if not any(address in network for network in ranges):
            astray[address.version].append(int(address))
    for version, places in astray.items():
        family = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        ranges.update(ipaddress.summarize_address_range(family(min(places)), family(max(places))))
    return tuple(sorted(ranges, key=str)) or PRIVATE


def blocks_of(pods: Sequence[tuple[str, ...]], blocks: set[Block], ranges: Sequence[Range]) -> dict[int, frozenset[Block]]:
    """Return the blocks that each pod (by its number; given are the addresses) lies in, or may when it has no address yet; those in none are left out."""
    addresses: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for number, texts in enumerate(pods if blocks else ()):
        for text in texts:
            address = ipaddress.ip_address(text)
            addresses[address.version].append((int(address), number))
    found: dict[int, set[Block]] = defaultdict(set)
    for known in addresses.values():
        known.sort()
    for block in blocks:
        known = addresses[block.version]
        for place, number in known[bisect.bisect_left(known, (block.first, -1)) :]:
            if place > block.last:
                break
            if block.holds(place):
                found[number].add(block)
    possible = {block for block in blocks if any(block.meets(network) for network in ranges)}
    if possible:
        found.update({number: possible for number, texts in enumerate(pods) if not texts})
    return {number: frozenset(inside) for number, inside in found.items()}
