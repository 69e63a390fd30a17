# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal says of migrations: which locks they take, by a linter, and the verdict in a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._statements import plain, skeletons

# Rules of the linter about locks that requests of customers wait for while a whole table is read or written.
REFUSED = frozenset(
    {
        "adding-field-with-default",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "adding-required-field",
        "adding-serial-primary-key-field",
        "changing-column-type",
        "constraint-missing-not-valid",
        "disallowed-unique-constraint",
        "require-concurrent-reindex",
    }
)
# An index takes seconds on the tables of one business, and bookings wait for so long; the run says so and goes on.
NOTED = frozenset({"require-concurrent-index-creation", "require-concurrent-index-deletion"})
UNREADABLE = "syntax-error"
LINT_SECONDS = 30

# What the linter has no rule for: locks of a whole table that are held until the end of the migration, by the skeleton of the statement.
_TABLES = r"(?:table )?(?:only )?(?P<tables>\S+(?:, \S+)*)"
_LOCKS = (
    (
        "truncating-table",
        re.compile(rf"truncate {_TABLES}"),
        "TRUNCATE locks reads and writes out until the migration ends, and the revision that serves loses its rows",
        "Delete rows in small steps, or drop the table in a later release, when nothing uses it any more.",
    ),
    (
        "locking-table",
        # The three weakest modes keep neither reads nor writes waiting.
        re.compile(rf"lock {_TABLES}(?! in (?:access share|row share|row exclusive) mode)(?: in| nowait|$)"),
        "LOCK TABLE keeps requests of customers waiting until the migration ends",
        "Leave it out: each statement takes the lock that it needs.",
    ),
    (
        "clustering-table",
        re.compile(r"cluster (?:\(.*\) )?(?:verbose )?(?P<tables>\S+)"),
        "CLUSTER writes the whole table anew and locks reads and writes out meanwhile",
        "Leave it out.",
    ),
)
LOCKS = frozenset(rule for rule, *_rest in _LOCKS)
_MADE = re.compile(r"create (?:(?:unlogged|temp|temporary) )?table (?:if not exists )?(\S+)")


def lint(statements: Sequence[str], program: str | None = None) -> list[dict[str, Any]]:
    """Return what the linter says about locks: ``statement``, ``rule``, ``message``, ``help`` and ``refused``, in the order of the statements.

    Statements that go together are given together: a table that is made among them has no rows, and locks nobody out. Raises PlatformError
    when the linter is missing or fails.
    """
    lines = [plain(statement) for statement in statements]
    found = _asked(lines, program) if lines else []
    unreadable = {item["line"] for item in found if item["rule"] == UNREADABLE}
    if unreadable:
        # One statement that it cannot read keeps it from judging all the others.
        readable = [number for number in range(len(lines)) if number not in unreadable]
        rest = _asked([lines[number] for number in readable], program) if readable else []
        found = [{**item, "line": readable[item["line"]]} for item in rest] + [
            {"line": number, "rule": UNREADABLE, "message": "the linter cannot read it: its locks were not judged", "help": ""} for number in unreadable
        ]
    found = [item for item in found if item["rule"] in REFUSED | NOTED | {UNREADABLE}] + _locks(lines)
    return [
        {"statement": lines[item["line"]], **{key: item[key] for key in ("rule", "message", "help")}, "refused": item["rule"] in REFUSED | LOCKS}
        for item in sorted(found, key=lambda item: int(item["line"]))
    ]


def _asked(lines: Sequence[str], program: str | None) -> list[dict[str, Any]]:
    """Return all that the linter says: C(line), C(rule), C(message) and C(help). Raises PlatformError when it is missing or fails."""
    command = [program or _program(), "--reporter", "json", "--assume-in-transaction", "--stdin-filepath", "migration.sql"]
    try:
        done = subprocess.run(command, input=";\n".join(lines) + ";\n", capture_output=True, text=True, timeout=LINT_SECONDS, check=False)
        found = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"the linter of migrations ({command[0]}) failed: {error}; install squawk-cli for the interpreter that runs this") from error
    return [{"line": item["line"], "rule": item["rule_name"], "message": item["message"], "help": item.get("help") or ""} for item in found]


def _locks(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the locks that the linter does not know, in its form. A table that the statements make themselves locks nobody out."""
    made: set[str] = set()
    found = []
    for number, line in enumerate(lines):
        for text in skeletons(line):
            # A name in quotes is not in the skeleton, so nothing is known of it.
            made |= set(_MADE.findall(text)) - {'"n"'}
            for rule, pattern, message, remedy in _LOCKS:
                hit = pattern.match(text)
                if hit and not {table.strip(" *") for table in hit["tables"].split(",")} <= made:
                    found.append({"line": number, "rule": rule, "message": message, "help": remedy})
    return found


def _program() -> str:
    """Return the path of squawk: beside the interpreter, or on the PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")
    return beside if os.access(beside, os.X_OK) else shutil.which("squawk") or "squawk"


def refusal(rehearsal: Mapping[str, Any]) -> tuple[str, str]:
    """Return why the migrations are refused and what to do, both empty when they are not. Takes the result of the module rehearsal."""
    for failed in rehearsal.get("failures") or []:
        what = "the migration of" if failed["step"] == "capture" else "the migrations cannot be tried with the code that serves of"
        return f"{what} {failed['service']}: {failed['reason']}", "repair the image and deploy again"
    for broken in rehearsal.get("broken") or []:
        return (
            f"the statement \"{plain(broken['statement'])}\" breaks revision r{rehearsal['serving']}, which serves meanwhile: "
            f"query {broken['query']} of {broken['service']} fails ({broken['reason']})",
            "expand now (add what is new, keep what is old) and contract in a later release, when nothing uses the old any more",
        )
    for finding in rehearsal.get("findings") or []:
        if finding["refused"]:
            return (
                f"the statement \"{finding['statement']}\" keeps customers waiting for a lock ({finding['rule']}): {finding['message'].rstrip('.')}",
                (finding["help"] or "split it into steps that lock no table for long").rstrip("."),
            )
    return "", ""


def unfit(rehearsal: Mapping[str, Any], number: int) -> str:
    """Return why revision ``number`` cannot serve on today's schema, "" when it can. Takes the result of the module rehearsal."""
    for broken in rehearsal.get("broken") or []:
        return (
            f"r{number} does not work on today's schema: since the statement \"{plain(broken['statement'])}\" of a later release, "
            f"query {broken['query']} of {broken['service']} fails ({broken['reason']})"
        )
    for failed in rehearsal.get("failures") or []:
        return f"whether r{number} works on today's schema cannot be tried: {failed['step']} of {failed['service']}: {failed['reason']}"
    return ""
