# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the routes of a tenant are planned while its Namespace still names another host than it is to name.

The admission policies admit routes for the host in force alone, for dry runs too. So a plan tries the route under that host: all that the
server has to say of it is heard, and nobody is let through who is not when it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref

HOST_ANNOTATION = f"{PREFIX}/host"
# Namespace -> the host that it is to name, and the one that it names.
Renamings = Mapping[str, tuple[str, str]]


def host_in(namespace: Mapping[str, Any] | None) -> str:
    """Return the host that a Namespace names, "" when it names none."""
    annotations = ((namespace or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(HOST_ANNOTATION) or "")


def renamings(wanted: Iterable[Mapping[str, Any]], live: Mapping[str, Mapping[str, Any]]) -> Renamings:
    """Return what is renamed; ``live`` is by Ref.key."""
    found = {}
    for obj in wanted:
        if obj.get("kind") == "Namespace":
            asked, present = host_in(obj), host_in(live.get(Ref.of(obj).key))
            if asked and present and asked != present:
                found[str(obj["metadata"]["name"])] = (asked, present)
    return found


def as_admitted(obj: dict[str, Any], renamed: Renamings) -> dict[str, Any]:
    """Return what a dry run may ask for in place of ``obj``: a route under the host in force, all else as it is."""
    hosts = _hostnames(obj, renamed)
    if not hosts:
        return obj
    asked, present = renamed[obj["metadata"]["namespace"]]
    below = f".{asked}"
    admitted = [present if host == asked else host.removesuffix(asked) + present if host.endswith(below) else host for host in hosts]
    return {**obj, "spec": {**obj["spec"], "hostnames": admitted}}


def as_asked(answer: dict[str, Any], obj: dict[str, Any], renamed: Renamings) -> dict[str, Any]:
    """Return the server's answer to such a dry run as it will be to ``obj``."""
    hosts = _hostnames(obj, renamed)
    return {**answer, "spec": {**answer["spec"], "hostnames": hosts}} if hosts else answer


def _hostnames(obj: Mapping[str, Any], renamed: Renamings) -> list[str]:
    """Return the hosts of a route in a namespace whose host changes, [] of anything else."""
    if obj.get("kind") != "HTTPRoute" or obj["metadata"].get("namespace") not in renamed:
        return []
    return list((obj.get("spec") or {}).get("hostnames") or [])
