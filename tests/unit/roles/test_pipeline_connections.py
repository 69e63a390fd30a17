"""What a tenant's role in PostgreSQL may hold: more before a larger revision comes, less after the larger one has gone, and back with the revision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import ChainableUndefined
from jinja2.nativetypes import NativeEnvironment

ROLE = Path(__file__).resolve().parents[3] / "roles" / "pipeline"
VARS: dict[str, Any] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
TIERS = {"small": {"connections": 40}, "large": {"connections": 160}}


def task(file: str, name: str) -> dict[str, Any]:
    """Return a task of the role by its file and its name."""
    (found,) = [item for item in yaml.safe_load((ROLE / "tasks" / file).read_text()) if item["name"] == name]
    return dict(found)


def value(text: str, **given: Any) -> Any:
    """Return what a template makes of the tier and of what the role may hold now."""
    environment = NativeEnvironment(undefined=ChainableUndefined)
    environment.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
    return environment.from_string(text).render(given)


def holds(conditions: str | list[str], **given: Any) -> bool:
    """Return whether a task runs."""
    listed = conditions if isinstance(conditions, list) else [conditions]
    return all(value("{{ " + condition + " }}", **given) is True for condition in listed)


def connections(tier: str) -> int:
    return int(value(VARS["__pipeline_connections"], vertical_base_tiers=TIERS, pipeline_tier=tier))


@pytest.mark.parametrize(
    ("own", "tier", "given", "noted", "lowered"),
    [(0, "small", 50, 0, False), (50, "large", 170, 50, False), (170, "small", 170, 0, True), (50, "small", 50, 0, False)],
)
def test_a_deploy_raises_before_and_lowers_after(own: int, tier: str, given: int, noted: int, lowered: bool) -> None:
    facts = {"database_connections": {"own": own}, "__pipeline_connections": connections(tier)}
    step = task("stages/infrastructure.yml", "Give the tenant its part of the database")["vars"]
    assert value(step["database_connection_limit"], **facts) == given
    assert value(step["__pipeline_step_undo"]["limit"], **facts) == noted
    commit = yaml.safe_load((ROLE / "tasks" / "commit.yml").read_text())
    assert [item["name"] for item in commit][1:] == ["Remove what the revision does not own", "Take back the connections that only a larger tier has"]
    assert holds(commit[2]["when"], **facts) is lowered
    assert commit[2]["vars"]["__pipeline_allowed"] == "{{ __pipeline_connections }}"


RAISED = {"database": {"limit": "50"}}
UNDO: list[tuple[dict[str, Any], list[str], bool]] = [
    ({}, [], False), ({"database": {"schema": "t_1", "existed": True}}, [], False), ({"database": {"limit": 0}}, [], False), (RAISED, [], True),
    (RAISED, ["settings: x"], True),
    # The larger revision may still serve.
    (RAISED, ["objects: x"], False),
]


@pytest.mark.parametrize(("undo", "failures", "taken"), UNDO)
def test_the_undo_takes_back_what_was_raised(undo: dict[str, Any], failures: list[str], taken: bool) -> None:
    names = [item["name"] for item in yaml.safe_load((ROLE / "tasks" / "undo.yml").read_text())]
    mine = "Take back the connections of a larger tier"
    assert names.index("Put the objects back") < names.index(mine)
    assert holds(task("undo.yml", mine)["when"], __pipeline_undo=undo, __pipeline_undo_failures=failures) is taken


HELD = [(50, 170, True, False), (170, 50, False, True), (50, 50, False, False), (50, 0, False, False)]


@pytest.mark.parametrize(("held", "target", "raised", "lowered"), HELD)
def test_a_roll_back_raises_before_and_lowers_after(held: int, target: int, raised: bool, lowered: bool) -> None:
    facts = {"database_held": held, "__pipeline_target_connections": target, "ansible_check_mode": False}
    tasks = yaml.safe_load((ROLE / "tasks" / "rollback" / "route.yml").read_text())
    assert (holds(tasks[0]["when"], **facts), holds(tasks[-1]["when"], **facts)) == (raised, lowered)
    dry = {**facts, "ansible_check_mode": True}
    assert (holds(tasks[0]["when"], **dry), holds(tasks[-1]["when"], **dry)) == (False, False)


@pytest.mark.parametrize(("serving", "tier"), [([], "small"), (["large"], "large"), (["small"], "small")])
def test_the_tier_that_serves_is_that_of_its_namespace(serving: list[str], tier: str) -> None:
    spaces = [{"kind": "Namespace", "metadata": {"labels": {"barberpro.platform/tier": name}}} for name in serving]
    found = value(VARS["__pipeline_serving_tier"], __pipeline_serving_kept={"objects": spaces}, __pipeline_target_tier="small")
    assert found == tier
    assert value(VARS["__pipeline_serving_tier"], __pipeline_target_tier="small") == "small"
