# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks by Prometheus, which is asked through the API server's service proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    lambda params: ", ".join([*params["groups"], *params["alerts"]]) or "rules",
    groups=Param("Names of rule groups. One of C(groups) and C(alerts) is required.", type="list", elements="str", default=[]),
    alerts=Param("Names of alerts.", type="list", elements="str", default=[]),
    labels=Param("Labels that the alerts must carry.", type="dict", default={}),
    **PROMETHEUS,
)
def rules_loaded(params: Mapping[str, Any], clients: Clients) -> str:
    """Prometheus has loaded the rules and evaluates them without error."""
    if not params["groups"] and not params["alerts"]:
        raise CheckFailed("neither groups nor alerts are named", "name what must be loaded", final=True)
    loaded = ask(params, clients, "/api/v1/rules", {}).get("groups") or []
    wanted_labels = {str(key): str(value) for key, value in params["labels"].items()}
    groups = {str(group["name"]): group.get("rules") or [] for group in loaded}
    rules = [rule for group in loaded for rule in group.get("rules") or []]
    alerts = {str(rule["name"]): rule for rule in rules if rule.get("type") == "alerting" and _carries(rule, wanted_labels)}
    missing = [f"group {name}" for name in params["groups"] if name not in groups]
    missing += [f"alert {name}" for name in params["alerts"] if name not in alerts]
    if missing:
        raise CheckFailed(
            f"Prometheus has not loaded {listed(missing)}",
            "check the PrometheusRule's labels and see kubectl describe prometheusrule; loading takes up to a minute",
        )
    ours = [rule for name in params["groups"] for rule in groups[name]] + [alerts[name] for name in params["alerts"]]
    broken = [rule for rule in ours if rule.get("health") == "err" or rule.get("lastError")]
    if broken:
        raise CheckFailed(f"rule {broken[0]['name']} fails: {broken[0].get('lastError', 'unknown error')}", "correct its expression")
    waiting = [rule for rule in ours if rule.get("health") != "ok"]
    if waiting:
        raise CheckFailed(f"{plural(len(waiting), 'rule')} not evaluated yet, {waiting[0]['name']} first", "wait for the next evaluation")
    return f"{plural(len(ours), 'rule')} loaded and evaluated without error"


def _carries(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a rule has all the labels."""
    own = rule.get("labels") or {}
    return all(str(own.get(key)) == value for key, value in labels.items())
