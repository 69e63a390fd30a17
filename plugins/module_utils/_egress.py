# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses outside of the cluster a tenant's workloads declare that they reach. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

PROTOCOLS = ("TCP", "UDP")
_KEYS = {"cidr", "port", "protocol"}
_FORM = "give each as {cidr: 203.0.113.0/24, port: 443}, with protocol: UDP where it is not TCP"


def problems(declared: Any, workloads: Sequence[str], internal: Sequence[str]) -> list[str]:
    """Return what is wrong with a declaration, a sentence each; ``internal`` are the ranges in which the cluster's own addresses are."""
    if not isinstance(declared, Mapping):
        return [f"egress {declared!r} is no mapping of workloads to lists; {_FORM}"]
    found = []
    for workload, rules in declared.items():
        if workload not in workloads:
            found.append(f"egress names workload {workload}, which the vertical does not have: choose among {', '.join(sorted(workloads))}")
        elif not isinstance(rules, Sequence) or isinstance(rules, str):
            found.append(f"egress of {workload} is {rules!r}, no list; {_FORM}")
        else:
            found += [sentence for number, rule in enumerate(rules) if (sentence := _problem(f"egress of {workload}, entry {number + 1}", rule, internal))]
    return found


def _problem(where: str, rule: Any, internal: Sequence[str]) -> str:
    if not isinstance(rule, Mapping) or not {"cidr", "port"} <= set(rule) <= _KEYS:
        return f"{where}, is {rule!r}; {_FORM}"
    try:
        network = ipaddress.ip_network(str(rule["cidr"]))
    except ValueError as error:
        return f"{where}: cidr {rule['cidr']!r} is no network ({error})"
    if not str(rule["port"]).isdigit() or not 0 < int(rule["port"]) < 65536:
        return f"{where}: port {rule['port']!r} is not a number from 1 to 65535"
    if rule.get("protocol", "TCP") not in PROTOCOLS:
        return f"{where}: protocol {rule['protocol']!r} is not one of {', '.join(PROTOCOLS)}"
    inside = next((own for own in _networks(internal, network) if network.subnet_of(own)), None)  # type: ignore[arg-type]
    if inside is not None:
        return f"{where}: cidr {network} lies in {inside}, where the cluster's own addresses are (pipeline_internal_cidrs); workloads reach each other by calls"
    return ""


def rules(declared: Mapping[str, Sequence[Mapping[str, Any]]], internal: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return by workload ``cidr``, ``except`` (the cluster's own ranges within it), ``port`` and ``protocol`` of each declared rule."""
    found: dict[str, list[dict[str, Any]]] = {}
    for workload, entries in declared.items():
        for entry in entries:
            network = ipaddress.ip_network(str(entry["cidr"]))
            excepted = [str(own) for own in _networks(internal, network) if own.subnet_of(network)]  # type: ignore[arg-type]
            rule = {"cidr": str(network), "except": excepted, "port": int(entry["port"]), "protocol": str(entry.get("protocol", "TCP"))}
            found.setdefault(workload, []).append(rule)
    return found


def reaches(declared: Sequence[Mapping[str, Any]], target: str) -> bool:
    """Return whether rules of `rules` let a workload reach ``HOST:PORT`` by TCP, HOST an address."""
    host, _colon, port = target.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    return any(
        rule["protocol"] == "TCP" and rule["port"] == int(port) and address in ipaddress.ip_network(rule["cidr"])
        and not any(address in ipaddress.ip_network(own) for own in rule["except"])
        for rule in declared
    )  # fmt: skip


def _networks(
    texts: Sequence[str], like: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return networks of the same IP version."""
    return [network for text in texts if (network := ipaddress.ip_network(str(text))).version == like.version]
