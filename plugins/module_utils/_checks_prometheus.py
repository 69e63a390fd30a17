# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks by Prometheus, which is asked through the API server's service proxy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._access import service_get
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    listed,
    plural,
)
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

PROMETHEUS: dict[str, Param] = {
    "namespace": Param("Namespace of Prometheus.", default="barberpro-monitoring"),
    "service": Param("Service of Prometheus.", default="prometheus-operated"),
    "port": Param("Port of the Service.", type="int", default=9090),
    "scheme": Param("Scheme of the Service.", default="http", choices=("http", "https")),
}

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def ask(params: Mapping[str, Any], clients: Clients, path: str, query: Mapping[str, str]) -> Any:
    """Return the data of an answer of Prometheus. Raises CheckFailed naming the Service."""
    place = f"Prometheus {params['namespace']}/{params['service']}"
    try:
        answer = service_get(clients.client, params["namespace"], params["service"], params["port"], path, query, params["scheme"])
    except PlatformError as error:
        raise CheckFailed(f"{place} does not answer: {error.message}", "check that deploy_platform.yml installed monitoring") from error
    if not isinstance(answer, dict) or answer.get("status") != "success":
        reason = answer.get("error") if isinstance(answer, dict) else answer
        raise CheckFailed(f"{place} refuses the query: {reason}", "check the matchers")
    return answer["data"]


def selector(matchers: Mapping[str, Any]) -> str:
    """Return matchers as PromQL; JSON's escapes are PromQL's."""
    return "{" + ",".join(f"{key}={json.dumps(str(value), ensure_ascii=False)}" for key, value in sorted(matchers.items())) + "}"


@check(
    "targets_up",
    lambda params: plural(len(params["targets"]), "target"),
    targets=Param(
        "Dictionaries of C(matchers) (labels) and C(count) (lowest number of targets that are up, default 1).",
        type="list",
        elements="dict",
        required=True,
    ),
    **PROMETHEUS,
)
def targets_up(params: Mapping[str, Any], clients: Clients) -> str:
    """Prometheus scrapes each target: C(up) is 1 for at least the asked number, and 0 for none."""
    total = 0
    for target in params["targets"]:
        matchers = target.get("matchers")
        if not isinstance(matchers, Mapping) or not matchers:
            raise CheckFailed(f"target {target} has no matchers", "give it labels, for example namespace and service", final=True)
        query = f"up{selector(matchers)}"
        series = ask(params, clients, "/api/v1/query", {"query": query}).get("result") or []
        down = [_instance(entry) for entry in series if str(entry["value"][1]) != "1"]
        up, needed = len(series) - len(down), int(target.get("count", 1))
        if down:
            raise CheckFailed(f"{query}: {listed(down)} is down", "see the target's error in Prometheus, Status, Target health")
        if up < needed:
            raise CheckFailed(f"{query}: {plural(up, 'target')} up, {needed} needed", "check the ServiceMonitor's labels and its namespace")
        total += up
    return f"up == 1 for {plural(total, 'target')}, asked by PromQL"


def _instance(entry: Mapping[str, Any]) -> str:
    """Return the name of a series' target."""
    labels = entry.get("metric") or {}
    return str(labels.get("pod") or labels.get("instance") or "a target")


@check(
    "rules_loaded",
    lambda params: ", ".join([*params["groups"], *_groups(params["objects"]), *params["alerts"]]) or "rules",
    objects=Param(
        "PrometheusRules as they were applied: their groups must be loaded as they are there. One of C(objects), C(groups) and C(alerts) is required.",
        type="list",
        elements="dict",
        default=[],
    ),
    groups=Param("Names of rule groups.", type="list", elements="str", default=[]),
    alerts=Param("Names of alerts.", type="list", elements="str", default=[]),
    labels=Param("Labels that the alerts must carry, those of the groups too.", type="dict", default={}),
    **PROMETHEUS,
)
def rules_loaded(params: Mapping[str, Any], clients: Clients) -> str:
    """Prometheus has loaded the rules and evaluates them without error.

    It shows expressions in its own notation, with what its operator adds to them, so they are not compared. Names, labels, annotations and durations
    are; an annotation with a hash of the expression tells one that has changed.
    """
    applied = _groups(params["objects"])
    if not applied and not params["groups"] and not params["alerts"]:
        raise CheckFailed("neither objects nor groups nor alerts are named", "name what must be loaded", final=True)
    groups: dict[str, list[dict[str, Any]]] = {}
    for group in ask(params, clients, "/api/v1/rules", {}).get("groups") or []:
        groups.setdefault(str(group["name"]), []).extend(group.get("rules") or [])
    wanted_labels = {str(key): str(value) for key, value in params["labels"].items()}
    alerts = {str(rule["name"]): rule for rules in groups.values() for rule in rules if _alerts(rule) and _holds(rule.get("labels"), wanted_labels)}
    missing = [f"group {name}" for name in [*params["groups"], *applied] if name not in groups]
    missing += [f"alert {name}" for name in params["alerts"] if name not in alerts]
    if missing:
        raise CheckFailed(
            f"Prometheus has not loaded {listed(missing)}",
            "check the PrometheusRule's labels and see kubectl describe prometheusrule; loading takes up to a minute",
        )
    if stale := [f"{name} of group {group}" for group, rules in applied.items() for name in _stale(rules, groups[group])]:
        raise CheckFailed(
            f"Prometheus still has other rules than were applied: {listed(stale)}",
            "loading takes up to a minute; see the operator's log and prometheus_config_last_reload_successful if it takes longer",
        )
    ours = [rule for name in dict.fromkeys([*params["groups"], *applied]) for rule in groups[name]]
    bare = [str(rule["name"]) for rule in ours if _alerts(rule) and not _holds(rule.get("labels"), wanted_labels)]
    if bare:
        raise CheckFailed(f"{listed(bare)} does not carry the labels {wanted_labels}", "correct the labels in the PrometheusRule")
    ours += [alerts[name] for name in params["alerts"]]
    broken = [rule for rule in ours if rule.get("health") == "err" or rule.get("lastError")]
    if broken:
        raise CheckFailed(f"rule {broken[0]['name']} fails: {broken[0].get('lastError', 'unknown error')}", "correct its expression")
    waiting = [rule for rule in ours if rule.get("health") != "ok"]
    if waiting:
        raise CheckFailed(f"{plural(len(waiting), 'rule')} not evaluated yet, {waiting[0]['name']} first", "wait for the next evaluation")
    return f"{plural(len(ours), 'rule')} loaded and evaluated without error"


def _groups(objects: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rules of PrometheusRules by the name of their group."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for group in (group for obj in objects for group in obj["spec"].get("groups") or []):
        found.setdefault(str(group["name"]), []).extend(group.get("rules") or [])
    return found


def _stale(applied: Sequence[Mapping[str, Any]], loaded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the applied rules that are not loaded as they are, and of the loaded ones that were not applied."""
    left = list(loaded)
    found = []
    for rule in applied:
        same = next((other for other in left if _same(rule, other)), None)
        if same is None:
            found.append(_name(rule))
        else:
            left.remove(same)
    return found + [_name(rule) for rule in left if _name(rule) not in found]


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("alert") or rule.get("record") or rule.get("name"))


def _same(applied: Mapping[str, Any], loaded: Mapping[str, Any]) -> bool:
    """Return whether a rule is loaded as it was applied; the operator may have added labels."""
    return (
        _name(applied) == _name(loaded)
        and _holds(loaded.get("labels"), applied.get("labels") or {})
        and _holds(loaded.get("annotations"), applied.get("annotations") or {})
        and all(
            math.isclose(seconds(str(applied.get(key) or "0")), float(loaded.get(shown) or 0))
            for key, shown in (("for", "duration"), ("keep_firing_for", "keepFiringFor"))
        )
    )


def seconds(duration: str) -> float:
    """Return a duration in Prometheus' notation (``1h30m``) as seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


def _alerts(rule: Mapping[str, Any]) -> bool:
    return rule.get("type") == "alerting"


def _holds(own: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Return whether labels or annotations hold all that is wanted."""
    return all(str((own or {}).get(key)) == str(value) for key, value in wanted.items())
