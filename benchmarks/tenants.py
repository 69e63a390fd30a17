"""The tenants of the benchmarks: what the roles' own templates render for a barbershop, twenty objects each.

``tenancy`` is the infrastructure phase as it is: Namespace, quota, limits, three service accounts, three roles with their bindings, eight
network policies, and the rest of it. ``delivery`` is a release: a smaller infrastructure, the settings, a workload with its Service and its
disruption budget, its routes, what is watched. Its Deployments ask for no pods, so that delivery is measured and not kwok.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._render import render

from benchmarks.fleet import PLATFORM, ROOT

ZONE = "bench.test"
REGISTRY = "registry.bench.test/barberpro"
IMAGE = f"{REGISTRY}/booking@sha256:{'a' * 64}"
FOLDERS = [str(ROOT / "roles" / role / "templates") for role in ("tenant", "vertical_base", "monitoring")]
OBJECTS = 20


@cache
def _defaults(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    return found


def shared() -> dict[str, Any]:
    """Return the variables of the templates that all tenants have in common."""
    base, shop, monitoring = (_defaults(role) for role in ("vertical_base", "barbershop", "monitoring"))
    return {
        "platform": {**PLATFORM, "gateway_name": "barberpro"},
        "quota": base["vertical_base_tiers"]["small"],
        "workloads": {**base["vertical_base_workloads"], **shop["barbershop_workloads"]},
        "market": {"replicas": 1},
        "business": {"name": "Bench"},
        "images": {"booking": IMAGE, "walkin_queue": IMAGE},
        "revision": "@revision@",
        "monitoring": {key.removeprefix("monitoring_"): value for key, value in monitoring.items() if key != "monitoring_context"},
    }


def own(name: str) -> dict[str, Any]:
    """Return the variables of one tenant."""
    tenant = {"name": name, "namespace": f"tenant-{name}", "host": f"{name}.{ZONE}", "vertical": "barbershop", "tier": "small"}
    people = {role: [{"kind": "User", "name": f"{role}@{name}"}] for role in ("owner", "operator", "viewer")}
    return {"tenant": {**tenant, "market_size": "small", "region": "caba"}, "access": people}


def names(count: int, prefix: str) -> list[str]:
    """Return the names of so many tenants."""
    return [f"{prefix}-{number:04d}" for number in range(count)]


def infrastructure(name: str) -> list[dict[str, Any]]:
    """Return the rendered infrastructure of one tenant."""
    return list(render(FOLDERS, {**shared(), **own(name)}, ["infrastructure"]))


def sets(count: int, prefix: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the infrastructure of each of so many tenants."""
    for name in names(count, prefix):
        yield infrastructure(name)
