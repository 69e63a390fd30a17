"""What bench-tenancy and bench-delivery have in common: a fleet deployed, deployed again, counted by kubectl, and set against peers."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import peers, tenants
from benchmarks.site import RESULTS, Site

Peer = Callable[[Site, peers.Sets], float]
MODULE = "barberpro.platform.fleet"
SIZES = (10, 100, 1000)


def options(description: str | None, result: str) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tenants", type=int, default=1000, help="size of the largest fleet; peers that are slow get a part of it")
    parser.add_argument("--sample", type=int, help="tenants that kubectl gets at most (default: all)")
    parser.add_argument("--bare", action="store_true", help="neither install the platform nor use the deployer's identity: for a look at whether it works")
    parser.add_argument("--peers", nargs="*", help="only these peers")
    parser.add_argument("--result", type=Path, default=RESULTS / result, help="file that is written")
    return parser.parse_args()


@contextmanager
def site_for(chosen: argparse.Namespace) -> Iterator[Site]:
    """Give the cluster, with the platform on it unless a bare look is asked for, and a folder for files that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="barberpro-bench-") as work:
        site = Site.of_checkout(Path(work), bare=chosen.bare)
        if chosen.bare:
            yield site
            return
        say("platform")
        try:
            site.install()
            yield site
        finally:
            site.uninstall()


def say(text: str) -> None:
    """Tell what is going on, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ours(site: Site, sort: str, count: int, prefix: str) -> dict[str, Any]:
    """Deploy a fleet, deploy it again, and return seconds, objects, memory and the resourceVersions that the second run has changed."""
    say(f"ours, {count} tenants")
    arguments = tenants.arguments(sort, count, prefix, site.work)
    before_cpu = site.cpu()
    first, told = site.task("fleet", MODULE, arguments, keep=["objects", "summary"])
    cpu_seconds = site.cpu() - before_cpu
    seen = site.count(prefix)
    if seen != count * tenants.OBJECTS:
        raise RuntimeError(f"kubectl sees {seen} objects of {prefix} instead of {count * tenants.OBJECTS}")
    before = site.versions_at_rest(prefix)
    second, again = site.task("fleet", MODULE, arguments, keep=["objects", "summary"])
    after = site.versions(prefix)
    return {
        "tenants": count,
        "objects": seen,
        "seconds": round(first.seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "own_cpu_seconds": round(first.cpu_seconds, 2),
        "module_seconds": told["summary"]["seconds"],
        "unchanged_seconds": round(second.seconds, 2),
        "unchanged_module_seconds": again["summary"]["seconds"],
        "unchanged_tenants": again["summary"]["unchanged"],
        "resource_versions_changed": sum(after.get(key) != version for key, version in before.items()) + len(set(after) - set(before)),
        "memory_mib": round(max(first.mebibytes, second.mebibytes)),
    }


def against(site: Site, sort: str, name: str, peer: Peer, count: int) -> dict[str, Any]:
    """Let a peer bring up so many tenants, count with kubectl what it made, and clear it away."""
    prefix = f"{name.replace('_', '-')[:12]}-{os.getpid() % 10000}"
    say(f"{name}, {count} tenants")
    try:
        before = site.cpu()
        seconds = peer(site, tenants.sets(sort, count, prefix, site.work))
        cpu_seconds = site.cpu() - before
        seen = site.count(prefix)
    finally:
        site.clear(prefix)
    if seen != count * tenants.OBJECTS:
        raise RuntimeError(f"kubectl sees {seen} objects of {name} instead of {count * tenants.OBJECTS}")
    found = {"tenants": count, "objects": seen, "seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}
    return {**found, "objects_per_second": round(seen / seconds, 2)}


def compared(site: Site, sort: str, own: dict[str, Any], samples: dict[str, tuple[Peer, int]], chosen: argparse.Namespace) -> dict[str, Any]:
    """Return ``objects``, ``sample_tenants``, ``seconds``, ``cpu_seconds`` and ``ratio`` by peer: seconds an object of the peer over ours."""
    found = {"ours": {**own, "objects_per_second": round(own["objects"] / own["seconds"], 2)}}
    for name, (peer, count) in samples.items():
        if chosen.peers is None or name in chosen.peers:
            found[name] = against(site, sort, name, peer, count)
    rate = {name: item["seconds"] / item["objects"] for name, item in found.items()}
    return {
        "sample_tenants": {name: item["tenants"] for name, item in found.items()},
        "objects": {name: item["objects"] for name, item in found.items()},
        "seconds": {name: item["seconds"] for name, item in found.items()},
        "cpu_seconds": {name: item["cpu_seconds"] for name, item in found.items()},
        "objects_per_second": {name: item["objects_per_second"] for name, item in found.items()},
        "ratio": {name: round(rate[name] / rate["ours"], 2) for name in found},
        "of_which": {key: own[key] for key in ("module_seconds", "unchanged_module_seconds", "own_cpu_seconds")},
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on: cores and what else the machine was doing."""
    return {"cores": os.cpu_count(), "load_average": [round(value, 2) for value in os.getloadavg()]}


def write(chosen: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write the result's file and print it."""
    chosen.result.parent.mkdir(parents=True, exist_ok=True)
    chosen.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
