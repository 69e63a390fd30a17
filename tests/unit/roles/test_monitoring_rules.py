"""A tenant's alerts as Prometheus' own checker sees them: valid, and firing when they should."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._render import render

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = yaml.safe_load((ROOT / "roles" / "monitoring" / "defaults" / "main.yml").read_text())
CONTEXT = {
    "tenant": {"name": "barbershop-palermo", "namespace": "tenant-barbershop-palermo", "vertical": "barbershop", "tier": "small"},
    "revision": "r3",
    "workloads": {"booking": {}, "walkin_queue": {}},
    "monitoring": {name.removeprefix("monitoring_"): value for name, value in DEFAULTS.items() if name != "monitoring_context"},
}
UP = 'up{namespace="tenant-barbershop-palermo",job="%s",pod="%s"}'
REQUESTS = 'barberpro_http_request_duration_seconds_count{namespace="tenant-barbershop-palermo",job="booking",status="%s"}'


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    """The monitoring objects of a tenant by kind."""
    return {item["kind"]: item for item in render([str(ROOT / "roles" / "monitoring" / "templates")], CONTEXT)}


@pytest.fixture
def rules(objects: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    """The file of rules that Prometheus gets."""
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(objects["PrometheusRule"]["spec"]))
    return path


def promtool(*arguments: str, folder: Path) -> str:
    """Run promtool and return what it printed; it must succeed."""
    program = shutil.which("promtool")
    assert program, "promtool is missing: it comes with the Debian package prometheus (see tests/debian-packages.txt)"
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules(rules: Path) -> None:
    assert "SUCCESS: 5 rules found" in promtool("check", "rules", "--lint-fatal", rules.name, folder=rules.parent)


def test_monitor_follows_every_revision_so_that_a_deploy_leaves_it_as_it_is(objects: dict[str, dict[str, Any]]) -> None:
    spec = objects["ServiceMonitor"]["spec"]
    assert spec["selector"] == {"matchExpressions": [{"key": "barberpro.platform/revision", "operator": "Exists"}]}
    assert "r3" not in json.dumps(objects["ServiceMonitor"])
    assert [(item["port"], item["path"]) for item in spec["endpoints"]] == [("management", "/metrics")]


CASES = {
    "nothing is wrong": (
        {UP % ("booking", "a"): "1x10", UP % ("walkin-queue", "b"): "1x10", REQUESTS % "200": "0+60x10", REQUESTS % "500": "0+1x10"}, {},
    ),
    "one of two pods is down": (
        {UP % ("booking", "a"): "1x10", UP % ("booking", "c"): "0x10", UP % ("walkin-queue", "b"): "1x10"},
        {"TenantTargetDown": "barbershop-palermo: booking in pod c does not answer"},
    ),
    "a service is gone": (
        {UP % ("booking", "a"): "1x10"}, {"TenantServiceDown": "barbershop-palermo: walkin-queue does not answer in any pod"},
    ),
    "every tenth request fails": (
        {
            UP % ("booking", "a"): "1x10", UP % ("walkin-queue", "b"): "1x10",
            REQUESTS % "200": "0+54x10", REQUESTS % "500": "0+6x10",
        },
        {"TenantErrorRatio": "barbershop-palermo: booking fails 10% of its requests"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_alerts_fire_when_something_is_wrong(name: str, rules: Path) -> None:
    series, expected = CASES[name]
    alerts = [
        {
            "alertname": alert, "eval_time": "9m",
            "exp_alerts": [] if alert not in expected else None,
        }
        for alert in ("TenantServiceDown", "TenantTargetDown", "TenantErrorRatio")
    ]
    for item in alerts:
        if item["exp_alerts"] is None:
            item["exp_alerts"] = [expectation(str(item["alertname"]), expected[str(item["alertname"])], rules)]
    test = {
        "rule_files": [rules.name], "evaluation_interval": "30s",
        "tests": [{"interval": "1m", "input_series": [{"series": key, "values": value} for key, value in series.items()], "alert_rule_test": alerts}],
    }
    (rules.parent / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", "test.yml", folder=rules.parent)


def test_a_rule_tells_by_an_annotation_that_its_expression_has_changed() -> None:
    def hashes(**changes: Any) -> list[str]:
        context = {**CONTEXT, "monitoring": {**CONTEXT["monitoring"], **changes}}
        found = render([str(ROOT / "roles" / "monitoring" / "templates")], context)
        spec = next(item["spec"] for item in found if item["kind"] == "PrometheusRule")
        return [annotations(spec, name)["expression_hash"] for name in ("TenantErrorRatio", "TenantLatency")]

    assert hashes() == hashes()
    assert [one == other for one, other in zip(hashes(), hashes(error_ratio=0.07), strict=True)] == [False, True]


def annotations(spec: dict[str, Any], alert: str) -> dict[str, str]:
    """Return the annotations of an alert's rule."""
    return next(dict(rule["annotations"]) for group in spec["groups"] for rule in group["rules"] if rule["alert"] == alert)


def expectation(alert: str, summary: str, rules: Path) -> dict[str, Any]:
    """Return what promtool is to find of a firing alert; the summary says which job and pod it is about."""
    words = summary.split()
    labels = {"severity": "critical", "tenant": "barbershop-palermo", "vertical": "barbershop", "tier": "small", "job": words[1]}
    if alert == "TenantTargetDown":
        labels |= {"severity": "warning", "pod": words[4], "namespace": "tenant-barbershop-palermo"}
    if alert == "TenantServiceDown":
        labels["namespace"] = "tenant-barbershop-palermo"
    told = {"summary": summary, "runbook": DEFAULTS["monitoring_runbook"]}
    told["expression_hash"] = annotations(yaml.safe_load(rules.read_text()), alert)["expression_hash"]
    return {"exp_labels": labels, "exp_annotations": told}
