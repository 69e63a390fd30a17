# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three moments of a fleet: its begin, the decision after each wave, its end."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_bake, _fleet_page, _fleet_record
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._checks_prometheus import PROMETHEUS
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import Rule, Tenant, judge, summary
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._report import iso
from ansible_collections.barberpro.platform.plugins.module_utils._resources import SYSTEM_NAMESPACE, Ref, Resources

# Requests and server errors by (namespace, revision).
_Met = Mapping[tuple[str, str], tuple[float, float]]
_WHERE = {name: param.default for name, param in PROMETHEUS.items()}


def begin(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Open the record. Raises PlatformError for a rule that cannot be and for a fleet that cannot be resumed."""
    rule = _rule(options)
    resources = Resources(client)
    if not check:
        # Ages are measured on the server's clock, which its first answer tells.
        resources.get(Ref("v1", "Namespace", "", SYSTEM_NAMESPACE))
    document = _opened(_fleet_record.new_name(_now(client)), options, _now(client))
    if options["resume"]:
        _resume(document, _fleet_record.load(resources, options["resume"]), options, rule)
    elif options["excused"]:
        raise PlatformError(f"fleet_excused names {', '.join(options['excused'])}, and no fleet is resumed; name it in fleet_resume, or leave it out")
    if not check:
        document["fleet"] = _fleet_record.create(resources, document)
    return {"changed": False, "fleet": document["fleet"], "release": document["release"], "done": document["done"]}


def _now(client: Client) -> datetime.datetime:
    """Return the time of the API server, as far as its answers have told it."""
    return datetime.datetime.fromtimestamp(client.now(), datetime.UTC)


def _resume(document: dict[str, Any], before: Mapping[str, Any], options: Mapping[str, Any], rule: Rule) -> None:
    """Take over how the tenants of the resumed fleet fared. Raises PlatformError when that stops the fleet before its first tenant."""
    earlier = _fleet_record.carried(before, options, rule)
    document.update(
        earlier=[vars(tenant) for tenant in earlier],
        done=_fleet_record.done(earlier),
        settings={**before.get("settings", {}), **options["settings"]},
        baked=before.get("baked", []),
        since=before.get("since", before["began"]),
        excused_since={**before.get("excused_since", {}), **dict.fromkeys(options["excused"], document["began"])},
    )
    verdict = _verdict(rule, earlier, options["tenants"])
    if verdict["stop"]:
        names = sorted({**verdict["wrong"], **verdict["earlier"]})
        raise PlatformError(
            f"fleet {before['fleet']} cannot go on with the same release: {verdict['reason']}; deploy a corrected release without fleet_resume, or, "
            f"where the platform was at fault and is mended, name whom it hit in fleet_excused (of {', '.join(names)})"
        )


def judged(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Decide whether the next wave may go on, and record it. New revisions are watched for the bake time before."""
    before = _before(client, options, check)
    document = _judge(client, options, check, before)
    if not check:
        resources = Resources(client)
        # What was done is written down before it is watched, since the runner may die meanwhile.
        _fleet_record.save(resources, document)
        waiting = set(options["tenants"]) - _known(document)
        if (fresh := _fleet_bake.fresh(document)) and waiting and not document["verdict"]["stop"] and options["bake_seconds"]:
            document = _fleet_bake.watched(lambda: _judge(client, options, check, document), options["bake_seconds"])
            document["baked"] = sorted({*document["baked"], *fresh})
            _fleet_record.save(resources, document)
    return _result(document)


def ended(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Close the record and write the report. Raises PlatformError when it cannot be written."""
    document = _judge(client, options, check, _before(client, options, check))
    verdict = document["verdict"]
    document["untouched"] = [name for name in options["tenants"] if name not in _known(document)]
    document["ended"] = iso(client.now())
    document["result"] = "stopped" if verdict["stop"] and document["untouched"] else "failed" if verdict["wrong"] else "succeeded"
    document["summary"] = summary(document["fleet"], verdict, ended=True, untouched=len(document["untouched"]))
    files: list[str] = []
    if not check:
        _fleet_record.save(Resources(client), document)
        files = _fleet_page.write(options["path"], document) if options["path"] else []
    return {**_result(document), "files": files}


def _rule(options: Mapping[str, Any]) -> Rule:
    """Return the rule of the options. Raises PlatformError."""
    if options["bake_seconds"] < 0:
        raise PlatformError(f"bake_seconds is {options['bake_seconds']:g}; it must be a number of seconds, 0 for no bake time")
    names = ("null_rate", "alpha", "failure_budget", "error_ratio", "minimum_requests")
    return Rule(**{name: options[name] for name in names})


def _opened(fleet: str, options: Mapping[str, Any], began: datetime.datetime) -> dict[str, Any]:
    """Return the record of a fleet of which nothing is known yet."""
    start = iso(began.timestamp())
    found: dict[str, Any] = {"fleet": fleet, "began": start, "since": start, "ended": "", "release": options["release"]}
    return {**found, "settings": dict(options["settings"]), "done": [], "earlier": [], "tenants": [], "baked": [], "excused_since": {}}


def _before(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Return the record as the last wave left it. A dry run has none to read."""
    if check:
        return _opened(options["fleet"], options, _now(client))
    return _fleet_record.load(Resources(client), options["fleet"])


def _known(document: Mapping[str, Any]) -> set[str]:
    """Return the tenants of which a record has an outcome."""
    return {tenant["name"] for tenant in [*document["earlier"], *document["tenants"]]}


def _judge(client: Client, options: Mapping[str, Any], check: bool, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with the outcomes so far and the verdict on them."""
    rule = _rule(options)
    met, problem = ({}, "") if check else _live(client, before)
    stored = {tenant["name"]: Tenant(**tenant) for tenant in [*before["earlier"], *before["tenants"]]}
    earlier = [_met(Tenant(**tenant), met, stored, problem) for tenant in before["earlier"]]
    failures = {tenant.name: tenant.earlier for tenant in earlier}
    tenants = []
    for outcome in to_plain(options["outcomes"]):
        name = outcome["tenant"]
        tenant = Tenant(name, outcome["result"], outcome.get("revision", ""), outcome.get("error", ""), earlier=failures.get(name, ""))
        tenants.append(_met(tenant, met, stored, problem))
    newest = {tenant.name: tenant for tenant in [*earlier, *tenants]}
    verdict = _verdict(rule, list(newest.values()), options["tenants"])
    document = {**before, "earlier": [vars(tenant) for tenant in earlier], "tenants": [vars(tenant) for tenant in tenants]}
    document.update(verdict=verdict, live_problem=problem)
    document["summary"] = summary(document["fleet"], verdict, untouched=len(set(options["tenants"]) - newest.keys()))
    return document


def _verdict(rule: Rule, tenants: Sequence[Tenant], names: Sequence[str]) -> dict[str, Any]:
    """Return the verdict on what is known. Who is known from an earlier run only is part of the fleet that has the failure budget."""
    known = {tenant.name for tenant in tenants}
    return {**judge(rule, tenants, len(known | set(names))), "tried": len(known & set(names)), "total": len(names)}


def _live(client: Client, document: Mapping[str, Any]) -> tuple[_Met, str]:
    """Return what customers met since the first run of the release began, and "" or why it is not known.

    Of a tenant that was excused only what they met since then counts, so that the same errors are not held against it again.
    """
    start: str = document["since"]
    found: dict[str, _Met] = {}
    excused: Mapping[str, str] = document.get("excused_since", {})
    for moment in sorted({start, *excused.values()}):
        seconds = client.now() - datetime.datetime.fromisoformat(moment).timestamp()
        if moment != start and seconds < _fleet_record.SHORTEST:
            # A window that reaches further back would hold what is excused.
            found[moment] = {}
            continue
        found[moment], problem = _fleet_record.live(Clients(lambda: client), _WHERE, seconds)
        if problem:
            return {}, problem
    places = {f"tenant-{name}": moment for name, moment in excused.items()}
    met = {key: figures for key, figures in found[start].items() if key[0] not in places}
    for place, moment in places.items():
        met.update({key: figures for key, figures in found[moment].items() if key[0] == place})
    return met, ""


def _met(tenant: Tenant, met: _Met, stored: Mapping[str, Tenant], problem: str) -> Tenant:
    """Return a tenant with what its customers met; what was known of the same revision when nobody can tell now."""
    # An unchanged tenant serves what it served before; only a new revision says something about the release.
    if tenant.result == "unchanged":
        return tenant
    known = stored.get(tenant.name)
    if problem and known is not None and known.revision == tenant.revision:
        return replace(tenant, requests=known.requests, errors=known.errors)
    requests, errors = met.get((f"tenant-{tenant.name}", tenant.revision), (0.0, 0.0))
    return replace(tenant, requests=requests, errors=errors)


def _result(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the module's result from a record."""
    warnings = [document["live_problem"]] if document["live_problem"] else []
    found = {name: document[name] for name in ("fleet", "verdict", "summary")}
    return {"changed": False, "stop": document["verdict"]["stop"], "warnings": warnings, **found}


ACTIONS = {"begun": begin, "judged": judged, "ended": ended}
