"""Prometheus through the service proxy: targets and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks_prometheus import seconds, selector

from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
PROXY = "GET /api/v1/namespaces/barberpro-monitoring/services/prometheus-operated:9090/proxy/api/v1"
TARGETS = [{"matchers": {"namespace": "tenant-x", "service": "booking-r3"}, "count": 2}]


def series(*values: str) -> Callable[[Request], dict[str, Any]]:
    def answer(request: Request) -> dict[str, Any]:
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        assert query == 'up{namespace="tenant-x",service="booking-r3"}'
        result = [{"metric": {"pod": f"booking-{number}"}, "value": [0, value]} for number, value in enumerate(values)]
        return {"status": "success", "data": {"result": result}}

    return answer


def test_targets_up(api: StandIn, check: Check) -> None:
    api.answers[f"{PROXY}/query"] = series("1", "1")
    assert check("targets_up", targets=TARGETS) == "passed: up == 1 for 2 targets, asked by PromQL"
    api.answers[f"{PROXY}/query"] = series("1", "0")
    found = check("targets_up", targets=TARGETS)
    assert found.startswith('failed: up{namespace="tenant-x",service="booking-r3"}: booking-1 is down; see the target')
    api.answers[f"{PROXY}/query"] = series("1")
    assert ": 1 target up, 2 needed; check the ServiceMonitor's labels and its namespace" in check("targets_up", targets=TARGETS)
    assert "has no matchers; give it labels" in check("targets_up", targets=[{"count": 1}])


def test_prometheus_that_does_not_answer(api: StandIn, check: Check) -> None:
    found = check("targets_up", targets=TARGETS)
    assert found.startswith("failed: Prometheus barberpro-monitoring/prometheus-operated does not answer: Service barberpro-monitoring/")
    assert found.endswith("check that deploy_platform.yml installed monitoring")
    api.answers[f"{PROXY}/query"] = {"status": "error", "error": "parse error"}
    assert "refuses the query: parse error; check the matchers" in check("targets_up", targets=TARGETS)
    api.answers[f"{PROXY}/query"] = Reply(200, "nonsense")
    assert "refuses the query" in check("targets_up", targets=TARGETS)


def rule(name: str, health: str = "ok", error: str = "", kind: str = "alerting", **labels: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "health": health, "lastError": error, "labels": labels}


def rules(*found: dict[str, Any], group: str = "tenant-x") -> dict[str, Any]:
    return {"status": "success", "data": {"groups": [{"name": group, "rules": list(found)}]}}


def test_rules_loaded(api: StandIn, check: Check) -> None:
    api.answers[f"{PROXY}/rules"] = rules(rule("Down", tenant="x"), rule("Slow", tenant="x"), rule("rate", kind="recording"))
    assert check("rules_loaded", groups=["tenant-x"], alerts=["Down"], labels={"tenant": "x"}) == "passed: 4 rules loaded and evaluated without error"
    found = check("rules_loaded", groups=["tenant-y"], alerts=["Down", "rate"], labels={"tenant": "y"})
    assert found.startswith("failed: Prometheus has not loaded group tenant-y, alert Down, alert rate; check the PrometheusRule's labels")
    assert check("rules_loaded").startswith("failed: neither objects nor groups nor alerts are named")
    api.answers[f"{PROXY}/rules"] = rules(rule("Down", health="err", error="division by zero"))
    assert check("rules_loaded", groups=["tenant-x"]) == "failed: rule Down fails: division by zero; correct its expression"
    api.answers[f"{PROXY}/rules"] = rules(rule("Down", health="unknown"))
    assert check("rules_loaded", groups=["tenant-x"]).startswith("failed: 1 rule not evaluated yet, Down first; wait")


APPLIED = {"alert": "Down", "expr": "up == 0", "for": "1m30s", "labels": {"tenant": "x"}, "annotations": {"expression_hash": "1"}}
LOADED = {**rule("Down", tenant="x", namespace="tenant-x"), "query": 'up{namespace="tenant-x"} == 0', "duration": 90, "annotations": {"expression_hash": "1"}}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, "passed: 1 rule loaded and evaluated without error"),
        ({"annotations": {"expression_hash": "2"}}, "Down of group tenant-x"),
        ({"duration": 60}, "Down of group tenant-x"),
        ({"keepFiringFor": 60}, "Down of group tenant-x"),
        ({"labels": {"namespace": "tenant-x"}}, "Down of group tenant-x"),
        ({"name": "Gone"}, "Down of group tenant-x, Gone of group tenant-x"),
    ],
)
def test_rules_of_before_the_reload_are_not_those_that_were_applied(api: StandIn, check: Check, change: dict[str, Any], found: str) -> None:
    api.answers[f"{PROXY}/rules"] = rules({**LOADED, **change})
    applied = [{"spec": {"groups": [{"name": "tenant-x", "rules": [APPLIED]}]}}]
    told = check("rules_loaded", objects=applied, labels={"tenant": "x"})
    assert told.startswith(found if not change else f"failed: Prometheus still has other rules than were applied: {found}; loading takes up to a minute")


def test_a_group_not_loaded_and_labels_that_its_alerts_lack(api: StandIn, check: Check) -> None:
    api.answers[f"{PROXY}/rules"] = rules(LOADED)
    assert "has not loaded group new" in check("rules_loaded", objects=[{"spec": {"groups": [{"name": "new", "rules": []}]}}])
    found = check("rules_loaded", groups=["tenant-x"], labels={"tenant": "y"})
    assert found == "failed: Down does not carry the labels {'tenant': 'y'}; correct the labels in the PrometheusRule"


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("0m", 0), ("100ms", 0.1), ("1h30m", 5400), ("1w", 604800)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("value", ['a"b', "a\\b", "ñ"])
def test_matchers_are_escaped(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert selector({"b": 1, "a": value}) == f'{{a="{escaped}",b="1"}}'
