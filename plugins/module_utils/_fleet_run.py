# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three moments of a fleet: its begin, the decision after each wave, its end."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_page, _fleet_record
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._checks_prometheus import PROMETHEUS
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import Rule, Tenant, judge, summary
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._report import iso
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

_WHERE = {name: param.default for name, param in PROMETHEUS.items()}


def begin(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Open the record. Raises PlatformError for a rule that cannot be and for a fleet that cannot be resumed."""
    _rule(options)
    resources = Resources(client)
    now = datetime.datetime.now(datetime.UTC)
    fleet = _fleet_record.new_name(now)
    done: list[str] = []
    if options["resume"]:
        done = _fleet_record.done_before(_fleet_record.load(resources, options["resume"]), options["release"])
    if not check:
        _fleet_record.save(resources, {**_opened(fleet, options, now), "done": done})
    return {"changed": False, "fleet": fleet, "done": done}


def judged(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Decide whether the next wave may go on, and record it."""
    document = _judge(client, options, check)
    if not check:
        _fleet_record.save(Resources(client), document)
    return _result(document)


def ended(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Close the record and write the report. Raises PlatformError when it cannot be written."""
    document = _judge(client, options, check)
    verdict = document["verdict"]
    tried = {tenant["name"] for tenant in document["tenants"]} | set(document["done"])
    document["untouched"] = [name for name in options["tenants"] if name not in tried]
    document["ended"] = iso(datetime.datetime.now(datetime.UTC).timestamp())
    document["result"] = "stopped" if verdict["stop"] and document["untouched"] else "failed" if verdict["wrong"] else "succeeded"
    document["summary"] = summary(document["fleet"], verdict, ended=True, untouched=len(document["untouched"]))
    files: list[str] = []
    if not check:
        _fleet_record.save(Resources(client), document)
        files = _fleet_page.write(options["path"], document) if options["path"] else []
    return {**_result(document), "files": files}


def _rule(options: Mapping[str, Any]) -> Rule:
    """Return the rule of the options."""
    names = ("null_rate", "alpha", "failure_budget", "error_ratio", "minimum_requests")
    return Rule(**{name: options[name] for name in names})


def _opened(fleet: str, options: Mapping[str, Any], began: datetime.datetime) -> dict[str, Any]:
    """Return the record of a fleet of which nothing is known yet."""
    return {"fleet": fleet, "began": iso(began.timestamp()), "ended": "", "release": options["release"], "done": [], "tenants": []}


def _judge(client: Client, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Return the record with the outcomes so far and the verdict on them."""
    rule, fleet, now = _rule(options), options["fleet"], datetime.datetime.now(datetime.UTC)
    # A dry run has no record to read.
    document = _opened(fleet, options, now) if check else _fleet_record.load(Resources(client), fleet)
    began = datetime.datetime.fromisoformat(document["began"])
    met, problem = ({}, "") if check else _fleet_record.live(Clients(lambda: client), _WHERE, (now - began).total_seconds())
    tenants = []
    for outcome in to_plain(options["outcomes"]):
        requests, errors = met.get((f"tenant-{outcome['tenant']}", outcome.get("revision", "")), (0.0, 0.0))
        # An unchanged tenant serves what it served before; only a new revision says something about the release.
        new = outcome["result"] != "unchanged"
        tenants.append(
            Tenant(
                outcome["tenant"], outcome["result"], outcome.get("revision", ""), outcome.get("error", ""),
                requests if new else 0.0, errors if new else 0.0,
            )
        )
    verdict = judge(rule, tenants, len(options["tenants"]))
    document.update(tenants=[vars(tenant) for tenant in tenants], verdict=verdict, live_problem=problem)
    document["summary"] = summary(fleet, verdict, untouched=len(options["tenants"]) - len(tenants) - len(document["done"]))
    return document


def _result(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the module's result from a record."""
    warnings = [document["live_problem"]] if document["live_problem"] else []
    found = {name: document[name] for name in ("fleet", "verdict", "summary")}
    return {"changed": False, "stop": document["verdict"]["stop"], "warnings": warnings, **found}


ACTIONS = {"begun": begin, "judged": judged, "ended": ended}
