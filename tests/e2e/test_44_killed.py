"""SIGKILL after each write of the journal, in every stage: the next run finishes or undoes it, and what is then there is what a quiet run leaves.

The points are found by construction: the journal is watched from outside, and the playbook is killed after its first, second, ... write, until a run
gets to its end. A point takes the better part of a minute, so that `make test` tries some, and `make crash-deploys` all.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import cluster, looks, sql
from tests.support.customers import Customers
from tests.support.journals import at_write
from tests.support.playbooks import Background, deploy, deploy_new, plan_of, play, remove

# Each point adds a minute or so; the whole of it is bounded by the Makefile's user.
pytestmark = [pytest.mark.cluster("beside"), pytest.mark.timeout(7200), pytest.mark.slow]
STRIDE = int(os.environ.get("BARBERPRO_CRASH_STRIDE", "9"))
INVENTORY = yaml.safe_load((cluster.ROOT / "tests" / "e2e" / "beside.yml").read_text())
BUSINESS: dict[str, Any] = INVENTORY["all"]["children"]["tenants"]["hosts"][cluster.CABALLITO]["business"]
# Objects and the service's settings change, so that every stage has something to write.
CHANGED: dict[str, Any] = {"quota_overrides": {"pods": "23"}, "business": {**BUSINESS, "name": "Barbería Caballito Norte"}}


def journal(tenant: str) -> dict[str, Any]:
    """Return the journal of a tenant."""
    text = cluster.kubectl("get", "secret", f"journal-{tenant}", "-n", "barberpro-system", "-o", "go-template={{index .data.journal | base64decode}}")
    found: dict[str, Any] = json.loads(text)
    return found


def killed(tenant: str, after: int, log: Path, *arguments: str, extra: dict[str, Any], playbook: str = "deploy_vertical.yml") -> str:
    """Run a playbook that is killed after so many writes of the journal; where it was, "" when it came to its end before."""
    with Background(playbook, *arguments, log=log, extra=extra) as run, at_write(tenant, after, run.kill):
        code = run.process.wait(timeout=600)
    if code >= 0:
        assert code == 0, log.read_text()
        return ""
    step = journal(tenant)["steps"][-1]
    return f"{step['step']} {'done' if step['done'] else 'intended'}"


def shape(tenant: str) -> dict[str, str]:
    """Return what a deploy makes of a tenant, the settings that its service has among it."""
    return {**looks.shape(tenant), "settings": cluster.ask(tenant, "/api/v1/business").body}


def without_passwords(found: dict[str, str]) -> dict[str, str]:
    """Return a shape in which Secrets have their keys only: each first deploy makes its own passwords."""
    return {name: str(sorted(json.loads(text)["data"])) if name.startswith("Secret ") else text for name, text in found.items()}


def without_jobs(found: dict[str, str]) -> dict[str, str]:
    """Return a shape without the Jobs of migrations, which no roll back runs once more."""
    return {name: text for name, text in found.items() if not name.startswith("Job ")}


def settled(tenant: str) -> None:
    """Assert that no run is left open."""
    found = looks.bookkeeping(tenant)
    assert found.pop("outcome") in ("succeeded", "undone")
    assert found == {"closed": True, "holder": None, "probes": [], "scratch": []}


def test_an_update_killed_anywhere_is_finished_or_undone_by_the_next_run(caballito: str, tmp_path: Path) -> None:
    """In turn the same is wanted again, and something else; customers are served all the time."""
    contents: list[dict[str, Any]] = [{}, CHANGED]
    shapes = [shape(caballito)]
    quiet = deploy(caballito, extra=CHANGED)
    assert quiet.code == 0, quiet.output
    shapes.append(shape(caballito))
    points = [f"{step['step']} {what}" for step in journal(caballito)["steps"] for what in ("intended", "done")]
    assert {point.split()[0] for point in points} >= {"infrastructure", "staged", "settings", "promoted", "finished"}
    rows, base, seen = sql.snapshot(caballito), 1, []
    with Customers(caballito) as customers:
        for after in itertools.count(1, STRIDE):
            place = killed(caballito, after, tmp_path / f"killed-{after}.log", "--limit", caballito, extra=contents[1 - base])
            if not place:
                base = 1 - base
                break
            seen.append(place)
            if len(seen) % 2:
                base = 1 - base
            run = deploy(caballito, extra=contents[base])
            assert run.code == 0, f"killed at {place}:\n{run.output}"
            settled(caballito)
            assert shape(caballito) == shapes[base], place
            assert sql.snapshot(caballito) == rows, place
    customers.assert_served()
    assert seen
    assert set(seen) <= set(points)
    if STRIDE == 1:
        # A signal takes some milliseconds: where a step was as quick, the run died behind its end.
        assert {place.split()[0] for place in seen} == {point.split()[0] for point in points}
    assert deploy(caballito).code == 0
    assert shape(caballito) == shapes[0]


def test_a_roll_back_killed_anywhere_is_finished_or_undone_by_the_next_run(caballito: str, tmp_path: Path) -> None:
    """In turn the content that was to be left is wanted, and the same again, also where nothing is left to write; customers are served all the time."""
    contents: list[dict[str, Any]] = [{}, CHANGED]
    shapes: list[dict[str, str]] = [{}, {}]
    numbers, seen = ["", ""], []
    with Customers(caballito) as customers:
        # A roll back has fewer steps than a deploy.
        for after in itertools.count(1, min(STRIDE, 3)):
            for place, extra in enumerate(contents):
                assert deploy(caballito, extra=extra).code == 0
                shapes[place], numbers[place] = shape(caballito), cluster.revision_served(caballito)
            rows, back = sql.snapshot(caballito), {"to_revision": int(numbers[0].removeprefix("r"))}
            point = killed(caballito, after, tmp_path / f"back-{after}.log", "--limit", caballito, extra=back, playbook="rollback_vertical.yml")
            other = bool(point) and len(seen) % 2 == 0
            run = deploy(caballito, extra=CHANGED) if other else play("rollback_vertical.yml", "--limit", caballito, tenant=caballito, extra=back)
            assert run.code == 0, f"killed at {point}:\n{run.output}"
            settled(caballito)
            assert without_jobs(shape(caballito)) == without_jobs(shapes[1 if other else 0]), point
            assert sql.snapshot(caballito) == rows, point
            if not point:
                break
            seen.append(point)
    customers.assert_served()
    assert len(seen) > 1
    assert {point.split()[0] for point in seen} >= ({"promoted", "finished"} if STRIDE == 1 else set())
    assert deploy(caballito).code == 0


def test_a_first_deploy_killed_anywhere_is_undone_before_something_else_is_deployed(boedo: str, tmp_path: Path) -> None:
    # As a first deploy leaves it: after a roll back the Jobs of its migrations are gone.
    remove(boedo)
    assert deploy_new(boedo).code == 0
    quiet, record = without_passwords(shape(boedo)), looks.record(boedo)
    described = {"tenant_name": boedo, "vertical": "barbershop", "tier": "small", "market_size": "small", "quota_overrides": {"pods": "24"}}
    for after in itertools.count(1 if STRIDE == 1 else 3, STRIDE):
        remove(boedo)
        place = killed(boedo, after, tmp_path / f"first-{after}.log", extra=described)
        run = deploy_new(boedo)
        assert run.code == 0, f"killed at {place}:\n{run.output}"
        settled(boedo)
        assert without_passwords(shape(boedo)) == quiet, place
        assert looks.record(boedo) == record, place
        if not place or STRIDE > 1:
            break


def test_a_first_deploy_killed_between_its_key_and_its_database_leaves_no_key(boedo: str, tmp_path: Path) -> None:
    remove(boedo)
    described = {"tenant_name": boedo, "vertical": "barbershop", "tier": "small", "market_size": "small"}
    # After the intents and outcomes of the steps infrastructure and key. What follows is written a task later, and a signal may come as late.
    place = killed(boedo, 4, tmp_path / "killed.log", extra=described)
    assert place in ("key done", "database intended")
    assert planned_key(boedo) == "unchanged"
    refused = deploy_new(boedo, extra={"image_overrides": {"booking": "localhost/does-not-exist:1"}})
    assert refused.code != 0
    assert f"was killed in step {place.split()[0]}; first undo it." in refused.words()
    settled(boedo)
    assert not cluster.exists("namespace", f"tenant-{boedo}")
    assert planned_key(boedo) == "created"
    assert deploy_new(boedo).code == 0


def planned_key(tenant: str) -> str:
    """Return what a deploy would do about a tenant's key in Vault."""
    run = deploy_new(tenant, extra={"plan_only": True})
    assert run.code == 0, run.output
    return str(plan_of(run, tenant)[0]["key"]["action"])
