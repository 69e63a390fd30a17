# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one self-contained page: no script, no font and no picture from elsewhere, light and dark."""

from __future__ import annotations

import difflib
import importlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._gate import seconds
from ansible_collections.barberpro.platform.plugins.module_utils._report_template import STYLE, TEMPLATE

WORDS = {"succeeded": "Succeeded", "unchanged": "Unchanged", "failed": "Failed", "rolled_back": "Rolled back"}
TITLES = {
    "validation": "Validation",
    "infrastructure": "Infrastructure",
    "containers": "Containers",
    "configuration": "Configuration",
    "testing": "Testing",
    "dns_ssl": "DNS and TLS",
    "monitoring": "Monitoring",
}
MOST_LINES = 400  # of one diff; what is longer says so


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a report's document."""
    jinja = importlib.import_module("jinja2")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(duration=lambda value: seconds(float(value)), title_of=title_of, moment=moment)
    stages = timeline(document)
    checks = [check for stage in document["stages"] for check in stage.get("checks") or []]
    return str(
        environment.from_string(TEMPLATE).render(
            report=document,
            style=STYLE,
            word=WORDS.get(str(document["result"]), str(document["result"])),
            stages=stages,
            checks=len(checks),
            outcomes=Counter(str(check.get("outcome")) for check in checks),
            budget=sum(stage["budget"] for stage in stages),
            diffs=[unified(entry) for entry in document["diff"]],
            actions=sorted(Counter(str(item.get("action")) for item in document["objects"]).items()),
            touched=[item for item in document["objects"] if item.get("action") != "unchanged"],
        )
    )


def title_of(name: str) -> str:
    """Return a stage's name as a heading."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def moment(text: str) -> str:
    """Return an ISO 8601 time as people read it."""
    return text.replace("T", " ").partition(".")[0] + " UTC" if "T" in text else text


def timeline(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages with where their bar begins and how long it is (percent of the run), and those that were not reached."""
    ran = {str(stage.get("name")): stage for stage in document["stages"]}
    names = [str(item.get("name")) for item in document["planned_stages"]]
    names += [name for name in ran if name not in names]
    budgets = {str(item.get("name")): float(item.get("budget_seconds") or 0) for item in document["planned_stages"]}
    total = max(sum(float(stage.get("elapsed_seconds") or 0) for stage in ran.values()), 0.001)
    found: list[dict[str, Any]] = []
    begun = 0.0
    for name in names:
        stage = ran.get(name, {})
        elapsed = float(stage.get("elapsed_seconds") or 0)
        budget = float(stage.get("budget_seconds") or budgets.get(name, 0))
        checks = list(stage.get("checks") or [])
        found.append(
            {
                "name": name,
                "result": str(stage.get("result") or "not reached"),
                "elapsed": elapsed,
                "budget": budget,
                "used": min(100.0, 100 * elapsed / budget) if budget else 0.0,
                "left": 100 * begun / total,
                "width": 100 * elapsed / total,
                "checks": checks,
                "passed": sum(1 for check in checks if check.get("outcome") == "passed"),
            }
        )
        begun += elapsed
    return found


def unified(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a diff as a title and lines of (kind, text); kinds are add, del, hunk, same and note."""
    title = str(entry.get("after_header") or entry.get("before_header") or "Change")
    if entry.get("prepared"):
        lines = str(entry["prepared"]).splitlines()
    else:
        before, after = _text(entry.get("before")), _text(entry.get("after"))
        # The first two lines name the files, which the title does.
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3))[2:]
    shown = [(_kind(line), line) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(("note", f"{len(lines) - MOST_LINES} more lines"))
    added = sum(1 for kind, _line in shown if kind == "add")
    removed = sum(1 for kind, _line in shown if kind == "del")
    return {"title": title, "lines": shown, "added": added, "removed": removed}


def _kind(line: str) -> str:
    """Return the kind of a diff's line by its first character."""
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")


def _text(value: Any) -> str:
    """Return one side of a diff as text."""
    if value is None or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
