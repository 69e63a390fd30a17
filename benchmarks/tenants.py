"""The tenants of the benchmarks, as the roles' own templates render a barbershop.

``tenancy``: the infrastructure phase as it is, 20 objects: Namespace, quota, limits, three service accounts, three roles with their bindings,
eight network policies. ``delivery``: a release of 20 objects with one workload that is not routed (the simulated profile has no gateway), its
settings, Service, disruption budget, and what watches it; its Deployment asks for no pods, so that delivery is measured and not kwok.
``routed``: a release with two workloads that run one pod each, and their routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._render import render
from ansible_collections.barberpro.platform.plugins.module_utils._store import numbered

from benchmarks.fleet import PLATFORM, ROOT

ZONE = "bench.test"
REGISTRY = "registry.bench.test/barberpro"
IMAGE = f"{REGISTRY}/booking@sha256:{'a' * 64}"
NEWER = f"{REGISTRY}/booking@sha256:{'b' * 64}"
_FOLDERS = [str(ROOT / "roles" / role / "templates") for role in ("tenant", "vertical_base", "monitoring")]
OBJECTS = 20
# The phases of the templates and the people of each sort of tenant.
PHASES = {
    "tenancy": ["infrastructure"],
    "delivery": ["infrastructure", "workloads", "monitoring"],
    "routed": ["infrastructure", "workloads", "promotion", "monitoring"],
}
PEOPLE = {"tenancy": ("owner", "operator", "viewer"), "delivery": ("owner", "viewer"), "routed": ()}


@cache
def _defaults(role: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    return found


def shared(sort: str, image: str = IMAGE) -> dict[str, Any]:
    """Return the variables of the templates that all tenants of a sort have in common."""
    base, shop, monitoring = (_defaults(role) for role in ("vertical_base", "barbershop", "monitoring"))
    workloads = {name: dict(workload) for name, workload in {**base["vertical_base_workloads"], **shop["barbershop_workloads"]}.items()}
    if sort == "delivery":
        workloads = {"booking": {**workloads["booking"], "migrate": False}}
        del workloads["booking"]["path"]
    return {
        "platform": {**PLATFORM, "gateway_name": "barberpro"},
        "quota": base["vertical_base_tiers"]["small"],
        "workloads": {name: {**workload, "migrate": False} for name, workload in workloads.items()},
        "market": {"replicas": 0 if sort == "delivery" else 1},
        "business": {"name": "Bench"},
        "images": {"booking": image, "walkin_queue": image},
        "revision": "@revision@",
        "monitoring": {key.removeprefix("monitoring_"): value for key, value in monitoring.items() if key != "monitoring_context"},
    }


def own(sort: str, name: str) -> dict[str, Any]:
    """Return the variables of one tenant."""
    tenant = {"name": name, "namespace": f"tenant-{name}", "host": f"{name}.{ZONE}", "vertical": "barbershop", "tier": "small"}
    people = {role: [{"kind": "User", "name": f"{role}@{name}"}] if role in PEOPLE[sort] else [] for role in PEOPLE["tenancy"]}
    return {"tenant": {**tenant, "market_size": "small", "region": "caba"}, "access": people}


def folders(sort: str, work: Path) -> list[str]:
    """Return the template folders of a sort; those of ``delivery`` are links in the folder ``work`` to all but the preview of routes."""
    if sort != "delivery":
        return _FOLDERS
    found = []
    for folder in map(Path, _FOLDERS):
        target = work / "templates" / folder.parent.name
        for path in folder.glob("*/*.yml.j2"):
            link = target / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            if "preview" not in path.name and not link.exists():
                link.symlink_to(path)
        found.append(str(target))
    return found


def names(count: int, prefix: str) -> list[str]:
    """Return the names of so many tenants."""
    return [f"{prefix}-{number:04d}" for number in range(count)]


def sets(sort: str, count: int, prefix: str, work: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the objects of each of so many tenants, as revision 1."""
    common = shared(sort)
    for name in names(count, prefix):
        yield numbered(render(folders(sort, work), {**common, **own(sort, name)}, PHASES[sort]), 1)


def arguments(sort: str, count: int, prefix: str, work: Path, image: str = IMAGE) -> dict[str, Any]:
    """Return the arguments with which the module ``fleet`` deploys these tenants."""
    return {
        "template_dirs": folders(sort, work),
        "phases": PHASES[sort],
        "shared_variables": shared(sort, image),
        "tenants": [{"name": name, "variables": own(sort, name)} for name in names(count, prefix)],
    }
