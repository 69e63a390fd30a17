"""The platform role's promises that need no cluster: its version, and what the deployer may and may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "platform"


def load(path: Path) -> Any:
    """Return the YAML of a file."""
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def deployer_roles() -> dict[str, dict[str, Any]]:
    """The deployer's ClusterRole and Role by kind."""
    text = (ROLE / "templates" / "deployer.yml.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["to_json"] = str
    rendered = environment.from_string(text).render(platform_deployer_subjects=[], platform_monitoring_namespace="barberpro-monitoring")
    found = {item["kind"]: item for item in yaml.safe_load_all(rendered) if item and item["kind"] in ("ClusterRole", "Role")}
    assert [item["metadata"]["name"] for item in found.values()] == ["barberpro-deployer", "barberpro-deployer-promql"]
    return found


@pytest.fixture
def deployer_rules(deployer_roles: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of the deployer's ClusterRole."""
    return list(deployer_roles["ClusterRole"]["rules"])


def test_version_is_the_collection_s() -> None:
    assert load(ROLE / "vars" / "main.yml")["__platform_version"] == load(ROOT / "galaxy.yml")["version"]


def rights(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return what RBAC rules grant, as (group, resource, verb)."""
    return {(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


def asked(rules: list[dict[str, Any]], variables: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return what rules of the check `access` ask for; their verbs are a list or name a variable."""
    return {
        (rule["group"], rule["resource"], verb)
        for rule in rules
        for verb in (variables[rule["verbs"].strip("{} ")] if isinstance(rule["verbs"], str) else rule["verbs"])
    }


def test_deployer_may_do_what_a_deploy_asks_for(deployer_roles: dict[str, dict[str, Any]]) -> None:
    variables = load(ROOT / "roles" / "pipeline" / "vars" / "main.yml")
    granted = rights(deployer_roles["ClusterRole"]["rules"])
    elsewhere = asked(variables["__pipeline_access_elsewhere"], variables)
    assert asked(variables["__pipeline_access_rules"], variables) - granted == set()
    # Prometheus alone is reached by a Role, by its name.
    assert elsewhere - granted == {("", "services/proxy", "get")} == rights(deployer_roles["Role"]["rules"])
    (named,) = [rule["name"] for rule in variables["__pipeline_access_elsewhere"] if "name" in rule]
    assert named in deployer_roles["Role"]["rules"][0]["resourceNames"]


def test_a_deploy_asks_for_what_it_does_outside_of_the_tenant() -> None:
    rules = load(ROOT / "roles" / "pipeline" / "vars" / "main.yml")["__pipeline_access_elsewhere"]
    places = {(rule["resource"], rule["namespace"].removeprefix("{{ __pipeline_platform.").removesuffix("_namespace }}")) for rule in rules}
    pods = {(resource, place) for resource in ("secrets", "pods", "pods/log") for place in ("barberpro-preflight", "data")}
    assert places == pods | {("secrets", "gateway"), ("services/proxy", "monitoring")}


def test_deployer_is_no_administrator(deployer_rules: list[dict[str, Any]]) -> None:
    everything = [value for rule in deployer_rules for key in ("apiGroups", "resources", "verbs") for value in rule[key]]
    assert {"*", "bind", "escalate", "impersonate", "nodes/proxy", "pods/exec"} & set(everything) == set()
    # Who may do what in the whole cluster it reads, for the isolation report, and never writes.
    written = [rule for rule in deployer_rules if set(rule["verbs"]) - {"get", "list", "watch"}]
    assert {"clusterroles", "clusterrolebindings"} & {value for rule in written for value in rule["resources"]} == set()


def test_every_public_variable_is_in_the_runbook() -> None:
    text = (ROOT / "docs" / "operations" / "platform.md").read_text()
    missing = [
        name for role in ("platform", "dns_tls", "monitoring") for name in load(ROOT / "roles" / role / "defaults" / "main.yml")
        if f"`{name}`" not in text
    ]
    assert missing == []
