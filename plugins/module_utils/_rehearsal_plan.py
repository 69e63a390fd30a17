# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services of a release can be rehearsed and why others cannot, what a roll back must try, and whether a backup is due. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LABEL = "label platform.barberpro.migrations"
_BEFORE = re.compile(r"-before-r(\d+)$")


def plan(
    workloads: Mapping[str, Mapping[str, Any]],
    old: Mapping[str, str],
    new: Mapping[str, str],
    said: Sequence[Mapping[str, str]],
    due: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return C(services), as the module rehearsal takes them, and C(untried), by workload why migrations that are due cannot be tried.

    ``workloads`` are those that keep tables; ``old`` and ``new`` are images by workload, of the code that must go on working and of the migrations;
    ``said`` is what the old images say of themselves, ``due`` lists dictionaries of C(workload) and C(to).
    """
    heads = {str(item["image"]): str(item["head"]) for item in said}
    wanted = {str(item["workload"]): str(item.get("to") or "") for item in due}
    services, untried = [], {}
    for name, workload in workloads.items():
        reason = _reason(workload, old.get(name, ""), heads, wanted.get(name))
        if reason and name in wanted:
            untried[name] = reason
        # A service that can be tried has its tables in the scratch schema even when its own migration is not among those that run there.
        if name in old and heads.get(old[name]) and workload.get("rehearse"):
            migrates = name in wanted and not reason
            services.append({"name": name, "command": list(workload["rehearse"]), "old": old[name], "new": new.get(name, old[name]), "migrates": migrates})
    return {"services": services if any(service["migrates"] for service in services) else [], "untried": untried}


def _reason(workload: Mapping[str, Any], image: str, heads: Mapping[str, str], to: str | None) -> str:
    """Return why a workload's migration cannot be tried, "" when it can."""
    if not image:
        return "no revision of it serves yet"
    if not heads.get(image):
        return f"its image that serves does not say which migrations it knows ({LABEL})"
    if to == "":
        return f"its image to come does not say which migrations it brings ({LABEL})"
    return "" if workload.get("rehearse") else "it has no rehearsal"


def backup_reason(due: Sequence[Mapping[str, str]], rehearsal: Mapping[str, Any]) -> str:
    """Return why the schema must be backed up before the migrations that are due, "" when they were tried and none of them can lose data."""
    for statement in rehearsal.get("losing") or []:
        return f"{statement['sql']} {statement['loses']}"
    for item in _untried(due, rehearsal.get("tried") or []):
        return f"The migration of {item['workload']} ({step(item)}) was not tried, so that nobody knows what it could lose"
    return ""


def planned_backup(due: Sequence[Mapping[str, str]], rehearsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether the schema is backed up before the migrations that are due, as far as it can be known before they are tried.

    C(certain) says that it is whatever they turn out to do, C(why) is the end of a sentence; both are left out when none is due. ``rehearsed`` is what
    `plan` has chosen, without services where no revision serves.
    """
    trying = [str(service["name"]) for service in rehearsed["services"] if service["migrates"]]
    for item in _untried(due, trying):
        reason = rehearsed["untried"].get(item["workload"]) or "no revision serves yet"
        what = f"the migration of {item['workload']} ({step(item)})"
        return {"certain": True, "why": f"because {what} cannot be tried, as {reason}, so that nobody knows what it could lose"}
    if not due:
        return {}
    steps = " and ".join(f"{item['workload']} ({step(item)})" for item in due)
    why = f"if the rehearsal of {steps}, which is left to the run since it writes, finds a statement that is not known to keep all data"
    return {"certain": False, "why": why}


def _untried(due: Sequence[Mapping[str, str]], tried: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the migrations that are due and of which nobody knows what they lose."""
    return [item for item in due if item["workload"] not in tried]


def step(item: Mapping[str, str]) -> str:
    """Return a migration that is due as ``FROM -> TO``."""
    return f"{item.get('from') or 'nothing'} -> {item.get('to') or 'unknown'}"


def rollback(
    workloads: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, str],
    said: Sequence[Mapping[str, str]],
    heads: Mapping[str, str],
    bringing: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return what a roll back must try: C(due), what the schema has beyond the revision's images, C(services) and C(untried) as `plan` has them.

    And C(missing), what is due although no image is known that brings it. ``images`` are the revision's by workload, ``said`` what these say,
    ``heads`` the migration that each version table is at, ``bringing`` what newer images say, in the order in which they are tried.
    """
    known = {str(item["image"]): item for item in said}
    due, new, missing, silent = [], {}, [], {}
    for name in (name for name in workloads if name in images):
        one = known.get(images[name]) or {}
        if not one.get("head"):
            silent[name] = f"its image does not say which migrations it knows ({LABEL})"
            continue
        at = heads.get(one["table"]) or ""
        if not at or int(at) <= int(one["head"]):
            continue
        item = {"workload": name, "from": one["head"], "to": at}
        found = next((other["image"] for other in bringing if (other["table"], other["head"]) == (one["table"], at)), None)
        due.append(item)
        if found is None:
            missing.append(item)
        else:
            new[name] = found
    chosen = plan(workloads, images, new, said, [item for item in due if item not in missing])
    return {"due": due, "services": chosen["services"], "untried": {**silent, **chosen["untried"]}, "missing": missing}


def backup_for(number: int, names: Sequence[str]) -> str:
    """Return the backup whose schema revision ``number`` works with for certain, "" when none is kept.

    Backups are named by the revision that they were taken before: the first one after ``number`` holds the schema that it left.
    """
    found = sorted((int(match[1]), name) for name in names if (match := _BEFORE.search(name)) and int(match[1]) > number)
    return found[0][1] if found else ""
