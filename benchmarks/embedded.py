"""How long an operator waits on the embedded node: a new tenant, a changed image, a dry run, a roll back; whole playbooks with their start."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.chaos.image import under_another_digest
from benchmarks.site import run
from tests.support import cluster
from tests.support.cluster import FACTS_FILE, ROOT

TENANT = "bench-deploy"
DESCRIBED = {"tenant_name": TENANT, "vertical": "barbershop", "tier": "small", "market_size": "small"}
FIGURES = ("deploy_seconds", "new_tenant_seconds", "dry_run_seconds", "empty_playbook_seconds")
EMPTY = [{"hosts": "localhost", "gather_facts": False, "tasks": []}]


def measure(turns: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the medians of ``turns`` runs of each kind (a new tenant: of one), and p50 and p99 of the roll backs of one tenant, in seconds.

    Each begins when the pods of the run before have gone, as a tenant is found by an operator: a deploy waits for their room in a small quota.
    ``empty_playbook_seconds`` is how long Ansible takes for no task at all, the yardstick of what this machine can do.

    Without an embedded cluster of this checkout the figures are null, and ``not_measured`` says why.
    """
    if not turns:
        return _without("left out of a bare look")
    if not FACTS_FILE.exists():
        return _without("no embedded cluster of this checkout is up: make cluster images platform starts one")
    _remove()
    try:
        say("a new tenant on the embedded cluster")
        new = _play("deploy_vertical.yml")
        say(f"{turns} deploys of a changed image, {turns} dry runs, {turns} roll backs")
        changed = [_play("deploy_vertical.yml", image_overrides={"booking": under_another_digest(turn)}) for turn in range(turns)]
        # Back and forth between the two newest revisions.
        back = [_play("rollback_vertical.yml", to_revision=turns + turn % 2) for turn in range(turns)]
        dry = [_play("deploy_vertical.yml", "--check", image_overrides={"booking": under_another_digest(turns)}) for _turn in range(turns)]
        empty = [_empty() for _turn in range(turns)]
    finally:
        _remove()
    return {
        "deploy_seconds": round(statistics.median(changed), 2),
        "new_tenant_seconds": round(new, 2),
        "dry_run_seconds": round(statistics.median(dry), 2),
        "empty_playbook_seconds": round(statistics.median(empty), 2),
        "rollback_embedded": {"runs": turns, **percentiles(back)},
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99; of fewer than a hundred values, p99 is the largest."""
    ranked = sorted(seconds)
    return {"p50": round(statistics.median(ranked), 2), "p99": round(ranked[max(0, math.ceil(0.99 * len(ranked)) - 1)], 2)}


def _without(reason: str) -> dict[str, Any]:
    return {**dict.fromkeys(FIGURES), "not_measured": dict.fromkeys(FIGURES, reason)}


def _play(playbook: str, *arguments: str, **extra: Any) -> float:
    """Run a playbook on the tenant of this benchmark, at rest, and return its seconds. Raises RuntimeError with the end of what it said when it fails."""
    cluster.settle(f"tenant-{TENANT}")
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventories/embedded", playbook, *arguments, "-e", json.dumps({**DESCRIBED, **extra})]
    return run(command).seconds


def _empty() -> float:
    """Return the seconds of a playbook without a task."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as stream:
        json.dump(EMPTY, stream)
        stream.flush()
        return run([str(ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", stream.name]).seconds


def _remove() -> None:
    _play("molecule/shared/destroy.yml")
