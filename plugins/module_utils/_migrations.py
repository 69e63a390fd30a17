# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal says of migrations: which locks they take, by a linter, and the verdict in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._statements import plain

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
    }
)
# An index takes seconds on the tables of one business, and bookings wait for so long; the run says so and goes on.
NOTED = frozenset({"require-concurrent-index-creation", "require-concurrent-index-deletion"})
LINT_SECONDS = 30


def lint(statements: Sequence[str], program: str | None = None) -> list[dict[str, Any]]:
    """Return what the linter says about locks: ``statement``, ``rule``, ``message``, ``help`` and ``refused``, in the order of the statements.

    Statements that go together are given together: a table that is made among them has no rows, and locks nobody out. Raises PlatformError
    when the linter is missing or fails.
    """
    if not statements:
        return []
    lines = [plain(statement) for statement in statements]
    command = [program or _program(), "--reporter", "json", "--assume-in-transaction", "--stdin-filepath", "migration.sql"]
    try:
        done = subprocess.run(command, input=";\n".join(lines) + ";\n", capture_output=True, text=True, timeout=LINT_SECONDS, check=False)
        found = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PlatformError(f"the linter of migrations ({command[0]}) failed: {error}; install squawk-cli for the interpreter that runs this") from error
    return [
        {
            "statement": lines[item["line"]],
            "rule": item["rule_name"],
            "message": item["message"],
            "help": item.get("help") or "",
            "refused": item["rule_name"] in REFUSED,
        }
        for item in found
        if item["rule_name"] in REFUSED | NOTED
    ]


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
