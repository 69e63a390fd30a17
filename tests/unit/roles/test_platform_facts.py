"""What the platform tells deploys and nodes: whose the certificate is, where the gateway is, whose images may run, which alerts there are."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.platform_role import CERTIFICATES, ROOT, evaluated, objects

BEFORE = base64.b64encode(json.dumps({"gateway_address": "203.0.113.7"}).encode()).decode()
THERE = {"__platform_secrets": {**CERTIFICATES, "barberpro-platform": {"facts": BEFORE, "salt": ""}}}
CASES: dict[str, dict[str, Any]] = {
    "usual": {"platform_gateway_address": "203.0.113.1"},
    "others": {
        **THERE, "platform_certificate_provider": "existing", "platform_gateway_provider": "existing",
        "__platform_tenants_images": {"stdout": "old.example/booking:1\nold.example/web:1\n"},
    },
    "listed": {"platform_image_registries": ["mine.example/a"], "__platform_tenants_images": {"stdout": "old.example/booking:1"}},
}  # fmt: skip
ASKED = {
    "provider": "{{ __platform_facts.certificate_provider }}", "address": "{{ __platform_address }}", "registries": "{{ __platform_registries }}",
    "rules": objects("platform-rules"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What they come to, by case."""
    return evaluated(tmp_path_factory.mktemp("facts"), ASKED, {name: {"__platform_seen": {"stdout": ""}, **case} for name, case in CASES.items()})


def test_deploys_are_told_who_keeps_the_certificate(found: dict[str, dict[str, Any]]) -> None:
    assert (found["usual"]["provider"], found["others"]["provider"]) == ("acme", "existing")


def test_a_dry_run_takes_the_address_that_deploys_were_told(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """It does not wait for the Gateway, and what it knows of it already is no change."""
    dry = evaluated(tmp_path, {"address": ASKED["address"]}, {"dry": {"__platform_seen": {"stdout": ""}, **THERE}}, ".venv", "--check")
    assert (dry["dry"]["address"], found["others"]["address"]) == ("203.0.113.7", "")


def test_tenants_keep_the_registry_that_they_run_from(found: dict[str, dict[str, Any]]) -> None:
    assert found["others"]["registries"] == ["old.example", "registry.barberpro.example"]
    assert found["usual"]["registries"] == ["registry.barberpro.example"]
    assert found["listed"]["registries"] == ["mine.example/a"]


def test_an_alert_without_its_metric_is_not_there(found: dict[str, dict[str, Any]]) -> None:
    alerts = {name: [rule["alert"] for rule in case["rules"][0]["spec"]["groups"][0]["rules"]] for name, case in found.items()}
    assert "CertificateExpiring" in alerts["usual"]
    assert alerts["others"] == [alert for alert in alerts["usual"] if alert != "CertificateExpiring"]


def test_the_provider_s_zone_is_the_inventory_s() -> None:
    """The zone of the tenants may be a part of it."""
    (task,) = yaml.safe_load((ROOT / "roles/platform/tasks/certificate.yml").read_text())
    assert "dns_tls_zone" not in task["vars"]
