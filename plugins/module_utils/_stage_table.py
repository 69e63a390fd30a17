# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of a run as lines of plain text, for the end of a terminal's or AWX's output."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._gate import seconds

RUN_REPORT = ("barberpro.platform.run_report", "run_report")
FLEET_GATE = ("barberpro.platform.fleet_gate", "fleet_gate")
WIDTH = 110  # columns of the longest line, where words allow it
FEW = 5  # tenants whose tables are shown whole; of more, those that went well get one line each


@dataclass
class Summary:
    """A tenant's run as text: a heading, a table, and the last lines (why it failed, what to do, where the report is)."""

    result: str
    heading: str
    table: list[str] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)


def summaries(results: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """Return a summary for each result of run_report, the last one where a tenant has several."""
    by_tenant = {str(result["report"].get("tenant")): result for result in results if isinstance(result.get("report"), Mapping)}
    found = [_summary(by_tenant[tenant]) for tenant in sorted(by_tenant)]
    if len(found) > FEW:
        for summary in found:
            if summary.result in ("succeeded", "unchanged"):
                summary.table, summary.last_lines = [], []
    return found


def fleet_summary(result: Mapping[str, Any]) -> Summary:
    """Return the end of a fleet from the result of fleet_gate."""
    sentence, paths = str(result["summary"]), [str(path) for path in result["files"]]
    heading, *more = textwrap.wrap(sentence[:1].upper() + sentence[1:], WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [*more, *(line for path in paths[-1:] for line in _wrapped("Report", path))]
    return Summary("failed" if result["verdict"]["wrong"] else "succeeded", heading, last_lines=lines)


def _summary(result: Mapping[str, Any]) -> Summary:
    """Return the summary of one result."""
    report = result["report"]
    revision = f" {report['revision']}" if report.get("revision") else ""
    took = seconds(float(report.get("elapsed_seconds") or 0))
    word = str(report.get("result", "unknown")).replace("_", " ")
    summary = Summary(str(report.get("result")), f"{report['tenant']}{revision}: {word} in {took}", table(report))
    facts = [("Failed", report.get("error")), ("Undone", "; ".join(report.get("undone") or [])), ("Next", report.get("next_step"))]
    if report.get("result") in ("succeeded", "unchanged"):
        facts.append(("Open", report.get("url")))
    facts.append(("Report", result.get("html_path") or result.get("report_path")))
    if not result.get("report_path"):
        facts.append(("Report", f"ConfigMap {result['config_map']}" if result.get("config_map") else "none was written"))
    for name, text in facts:
        if text:
            summary.last_lines += _wrapped(name, str(text))
    return summary


def table(report: Mapping[str, Any]) -> list[str]:
    """Return the stages as aligned lines; those that were not reached are there too."""
    rows: list[Sequence[str]] = [("stage", "result", "took", "budget", "checks")]
    ran = [str(stage.get("name")) for stage in report.get("stages") or []]
    for stage in report.get("stages") or []:
        checks = stage.get("checks") or []
        passed = sum(1 for check in checks if check.get("outcome") == "passed")
        skipped = sum(1 for check in checks if check.get("outcome") == "skipped")
        rows.append(
            (
                str(stage.get("name")),
                str(stage.get("result")),
                seconds(float(stage.get("elapsed_seconds") or 0)),
                seconds(float(stage.get("budget_seconds") or 0)),
                f"{passed}/{len(checks)}" + (f" ({skipped} skipped)" if skipped else ""),
            )
        )
    rows += [
        (str(stage.get("name")), "not reached", "-", seconds(float(stage.get("budget_seconds") or 0)), "-")
        for stage in report.get("planned_stages") or []
        if str(stage.get("name")) not in ran
    ]
    if len(rows) == 1:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip() for row in rows
    ]
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _wrapped(name: str, text: str) -> list[str]:
    """Return ``name: text`` in lines that align below the text; paths and long words stay whole."""
    head = f"{name}:".ljust(8)
    lines = textwrap.wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False)
    return [(head if place == 0 else " " * len(head)) + line for place, line in enumerate(lines)]
