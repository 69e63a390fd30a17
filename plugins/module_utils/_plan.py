# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deploy as a document: all that the run would change, in the cluster and outside of it, redacted and readable."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._redact import redact_diff
from ansible_collections.barberpro.platform.plugins.module_utils._rehearsal_plan import planned_backup

FORMAT = 1
_SIGNS = {"created": "+", "changed": "~", "deleted": "-"}
_ORDER = {"infrastructure": 0, "workloads": 1, "promotion": 2, "monitoring": 3}


def build(params: Mapping[str, Any], made: str, kubernetes: str = "") -> dict[str, Any]:
    """Return the plan's document from what the read-only calls of a run have found. Pure; ``params`` are those of the module deploy_plan.

    ``changed`` is whether the run that follows would write anything at all.
    """
    release, database, dns = params["release"], params["database"], params["dns"]
    objects = _objects(release, params["infrastructure"])
    settings = {"fields": list(params["settings"].get("fields") or []), **_redacted_pair(params["settings"])}
    stored, dropped = _history(release, int(params["keep"]))
    document = {
        "format": FORMAT,
        "tenant": params["tenant"],
        "made": made,
        "kubernetes": kubernetes,
        "revision": {"current": _revision(release.get("current")), "planned": release.get("revision")},
        "recovery": params["recovery"],
        "objects": objects,
        "unchanged": int(release.get("unchanged") or 0),
        "database": {
            "schema": database.get("schema", ""),
            "changes": list(database.get("changes") or []),
            "migrations": list(database.get("migrations") or []),
            "backup": _backup(params),
        },
        "key": _key(params["key"]),
        "dns": _dns(dns),
        "certificate": dict(params["certificate"]),
        "route": _route(release, objects),
        "settings": settings,
        "history": {"stored": stored, "dropped": dropped},
    }
    parts = [
        objects, document["recovery"], document["database"]["changes"], document["database"]["migrations"], settings["fields"],
        document["key"].get("action") in ("created", "changed"),
        document["dns"].get("action") in ("created", "changed"), document["certificate"].get("due"), release.get("changed"),
    ]
    return {**document, "changed": any(bool(part) for part in parts)}


def _objects(release: Mapping[str, Any], infrastructure: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that would change, each once, with its redacted difference.

    The release knows what belongs to the set; claims of host names and credentials are the tenant's and come from its own dry run.
    """
    found: dict[str, dict[str, Any]] = {}
    texts = {entry["after_header"]: redact_diff(entry) for entry in [*_diffs(infrastructure), *(release.get("differences") or [])]}
    changes = [{**change, "phase": "infrastructure"} for change in infrastructure.get("objects") or [] if change["action"] != "unchanged"]
    for change in [*changes, *(release.get("changes") or [])]:
        text = texts.get(change["object"], {})
        found[change["object"]] = {**change, "before": text.get("before", ""), "after": text.get("after", "")}
    return sorted(found.values(), key=lambda item: (_ORDER.get(item["phase"], 9), item["object"]))


def _diffs(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the diff of a task's result, which Ansible allows to be one entry or many."""
    diff = result.get("diff") or []
    return [dict(diff)] if isinstance(diff, Mapping) else [dict(entry) for entry in diff]


def _redacted_pair(settings: Mapping[str, Any]) -> dict[str, Any]:
    pair = redact_diff({key: settings.get(key) or {} for key in ("before", "after")})
    return {"before": pair["before"], "after": pair["after"]}


def _revision(number: Any) -> str | None:
    return None if number is None or number == "" else f"r{number}"


def _history(release: Mapping[str, Any], keep: int) -> tuple[str | None, list[str]]:
    """Return the revision that the run would store, and those that it would forget because only the newest are kept."""
    number, kept = release.get("number"), [int(other) for other in release.get("kept") or []]
    if number is None or not release.get("changed"):
        return None, []
    number = int(number)
    pending = release.get("pending")
    superseded = {int(pending)} - {number} if pending not in (None, "") else set()
    after = sorted({*kept, number} - superseded, reverse=True)
    newest = after[: max(1, keep)]
    dropped = sorted(superseded | {other for other in after if other not in newest and other != number})
    return (None if number in kept else f"r{number}"), [f"r{other}" for other in dropped]


def _backup(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return which backup the run would take before its migrations, nothing when it would take none."""
    backup, database = params["backup"], params["database"]
    due = planned_backup(database.get("migrations") or [], backup["rehearsed"]) if backup else {}
    if not due:
        return {}
    place = {"name": backup["name"], "claim": backup["claim"], "folder": params["tenant"], "keep": int(backup["keep"])}
    return {**due, "schema": database.get("schema", ""), **place}


def _key(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what would become of the tenant's key, nothing where tenants have none."""
    if not key.get("key"):
        return {}
    # Not by "changed", which says what a run has done: a plan has done nothing.
    return {"name": key["key"], "action": str(key.get("action") or "unchanged")}


def _dns(dns: Mapping[str, Any]) -> dict[str, Any]:
    """Return what would become of the tenant's record in the zone."""
    if not dns:
        return {}
    record, previous = dict(dns.get("record") or {}), list((dns.get("record") or {}).get("previous") or [])
    action = "unchanged" if previous == list(record.get("values") or []) else "by hand"
    if dns.get("changed"):
        action = "changed" if previous or record.get("other") else "created"
    return {**record, "action": action}


def _route(release: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return from which revision to which customers would be moved, nothing when they stay where they are."""
    if not any(item["phase"] == "promotion" for item in objects):
        return {}
    return {"from": _revision(release.get("current")), "to": release.get("revision")}


def text(plan: Mapping[str, Any]) -> str:
    """Return the plan for a reader: one line for each thing that would change, then the differences."""
    revision = plan["revision"]
    said = f"Plan of tenant {plan['tenant']}, {plan['made']}: {revision['current'] or 'nothing'} serves"
    if not plan["changed"]:
        return f"{said}.\nNothing would change; {plan['unchanged']} objects are as asked.\n"
    lines = [f"{said}, the run would bring {revision['planned']}."]
    if plan["recovery"]:
        lines += ["", plan["recovery"], "What follows is computed from the state as it is now; the run plans anew when that is done."]
    lines += ["", f"Cluster: {_counted(plan['objects'])}, {plan['unchanged']} unchanged"]
    lines += [f"  {_SIGNS[item['action']]} {item['object']}  ({item['phase']})" for item in plan["objects"]]
    lines += _outside(plan)
    differences = [line for item in plan["objects"] if item["action"] == "changed" for line in _unified(item)]
    if plan["settings"]["fields"] and plan["settings"]["before"]:
        before, after = (json.dumps(plan["settings"][key], indent=2, sort_keys=True, ensure_ascii=False) for key in ("before", "after"))
        differences += _unified({"object": "settings of the service", "before": before, "after": after})
    return "\n".join([*lines, *(["", "Differences:", *differences] if differences else [])]) + "\n"


def _counted(objects: Sequence[Mapping[str, Any]]) -> str:
    counts = [(sum(item["action"] == action for item in objects), action) for action in _SIGNS]
    return ", ".join(f"{count} {action}" for count, action in counts)


def _outside(plan: Mapping[str, Any]) -> list[str]:
    """Return the lines about all that is no object of the tenant."""
    database, dns, certificate, history = plan["database"], plan["dns"], plan["certificate"], plan["history"]
    lines = [f"  ~ {change}" for change in database["changes"]] + _backup_lines(database["backup"])
    lines += [
        f"  ~ migrate {item['workload']} from {item['from'] or 'nothing'} to {item['to']} ({item['table']}, by {item['image']})"
        for item in database["migrations"]
    ]
    found = ["", f"Database (schema {database['schema']}):", *(lines or ["  nothing"])]
    if plan["key"]:
        found += ["", f"Key: {_SIGNS.get(plan['key']['action'], ' ')} {plan['key']['name']}: {plan['key']['action']}"]
    found += ["", "Name and certificate:"]
    if dns:
        said = f"{dns['host']} {dns['type']} {' '.join(dns['values'])}"
        was = [*dns["previous"], *(f"{other['type']} {' '.join(other['values'])}" for other in dns.get("other") or ())]
        before = f" (was {' '.join(was)})" if was and dns["action"] == "changed" else ""
        found.append(f"  {_SIGNS.get(dns['action'], ' ')} {said}: {dns['action']}{before}")
    if certificate.get("due"):
        found.append(f"  ~ certificate {certificate['secret']} for {', '.join(certificate['names'])} would be issued: {certificate['due']}")
    else:
        found.append("    the certificate in force stays")
    route, settings = plan["route"], plan["settings"]
    found += ["", f"Customers: {'moved from ' + (route['from'] or 'nothing') + ' to ' + str(route['to']) if route else 'stay where they are'}"]
    found += [f"Settings: {', '.join(settings['fields']) or 'as they are'}"]
    kept = [f"{history['stored']} is stored"] if history["stored"] else []
    kept += [f"{', '.join(history['dropped'])} is forgotten"] if history["dropped"] else []
    return [*found, f"Revisions kept: {'; '.join(kept) or 'as they are'}"]


def _backup_lines(backup: Mapping[str, Any]) -> list[str]:
    """Return what is said of the backup before the migrations; a question mark where only the run finds out whether it is taken."""
    if not backup:
        return []
    where = f"folder {backup['folder']} of volume claim {backup['claim']} (the newest {backup['keep']} are kept)"
    return [f"  {'+' if backup['certain'] else '?'} backup {backup['name']} of schema {backup['schema']}, to {where},", f"      {backup['why']}"]


def _unified(item: Mapping[str, Any]) -> list[str]:
    before, after = str(item["before"]).splitlines(), str(item["after"]).splitlines()
    return ["", *difflib.unified_diff(before, after, f"{item['object']} (now)", f"{item['object']} (then)", lineterm="", n=2)]
