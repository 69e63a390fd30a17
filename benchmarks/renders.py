"""What a deploy writes for a barbershop of every tier in every market, without a cluster: the roles' own templates and tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._render import render
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PHASES
from ansible_collections.barberpro.platform.plugins.module_utils._store import numbered

ROLES = Path(__file__).resolve().parents[1] / "roles"
IMAGES = {name: f"registry.example/barberpro/{name}@sha256:{'0' * 64}" for name in ("booking", "walkin_queue")}
PLATFORM = {
    "gateway_namespace": "barberpro-gateway", "gateway_name": "barberpro", "monitoring_namespace": "barberpro-monitoring",
    "data_namespace": "barberpro-data", "database_cidrs": [], "database_port": 5432,
    "pooler": {"port": "6432", "ca": "certificate"},
}  # fmt: skip
# One person in each role, so that the bindings are judged too.
ACCESS = {role: [{"kind": "User", "name": f"{role}@example.org"}] for role in ("owner", "operator", "viewer")}


@cache
def defaults(role: str) -> dict[str, Any]:
    """Return the default variables of a role."""
    found: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    return found


def tiers() -> list[str]:
    """Return the names of the tiers."""
    return list(defaults("vertical_base")["vertical_base_tiers"])


def markets() -> list[str]:
    """Return the names of the markets."""
    return list(defaults("vertical_base")["vertical_base_markets"])


def barbershop(tier: str, market: str, **more: Any) -> list[dict[str, Any]]:
    """Return all objects of revision 1 of the tenant TIER-MARKET, every phase; ``more`` replaces parts of what the templates see."""
    base, shop, monitoring = defaults("vertical_base"), defaults("barbershop"), defaults("monitoring")
    name = f"{tier}-{market}"
    context = {
        "tenant": {
            "name": name, "namespace": f"tenant-{name}", "host": f"{name}.example.org", "vertical": "barbershop", "tier": tier,
            "market_size": market, "region": "caba", "schema": "t_0",
        },
        "access": ACCESS, "platform": PLATFORM, "quota": base["vertical_base_tiers"][tier], "market": base["vertical_base_markets"][market],
        "workloads": {**base["vertical_base_workloads"], **shop["barbershop_workloads"]}, "images": IMAGES, "revision": "@revision@",
        "business": {**base["vertical_base_business"], **shop["barbershop_business"], "name": name},
        "monitoring": {key.removeprefix("monitoring_"): value for key, value in monitoring.items() if key != "monitoring_context"},
        **more,
    }  # fmt: skip
    folders = [str(ROLES / role / "templates") for role in ("tenant", "vertical_base", "monitoring")]
    return list(numbered(render(folders, context, list(PHASES)), 1))
