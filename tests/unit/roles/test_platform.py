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
def deployer_rules() -> list[dict[str, Any]]:
    """The rules of the deployer's ClusterRole."""
    text = (ROLE / "templates" / "deployer.yml.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["to_json"] = str
    rendered = environment.from_string(text).render(platform_deployer_subjects=[], platform_monitoring_namespace="barberpro-monitoring")
    found = [item for item in yaml.safe_load_all(rendered) if item and item["kind"] == "ClusterRole"]
    assert [item["metadata"]["name"] for item in found] == ["barberpro-deployer"]
    return list(found[0]["rules"])


def test_version_is_the_collection_s() -> None:
    assert load(ROLE / "vars" / "main.yml")["__platform_version"] == load(ROOT / "galaxy.yml")["version"]


def test_deployer_may_do_what_a_deploy_asks_for(deployer_rules: list[dict[str, Any]]) -> None:
    granted = {
        (group, resource, verb)
        for rule in deployer_rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    asked = {
        (rule["group"], rule["resource"], verb)
        for rule in load(ROOT / "roles" / "pipeline" / "vars" / "main.yml")["__pipeline_access_rules"]
        for verb in (["get", "list", "watch", "create", "patch", "delete"] if isinstance(rule["verbs"], str) else rule["verbs"])
    }
    assert asked - granted == set()


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
