"""Writes docs/checks.md from the checks themselves: `python -m tests.support.checks_page`. A test says when it is out of date."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "checks.md"
HEAD = """# Checks of a stage's gate

Each check is an entry of the `checks` list of `barberpro.platform.stage_gate`: its name as `check`, its parameters beside it.
Every check also takes `target` (what the reader sees as its subject), `wait` (for how many seconds a failure that may heal is tried again, default 0),
`deadline` (how long it may take in all, in seconds) and `skip_reason` (report it as skipped and do not run it).

This page is made from the code by `python -m tests.support.checks_page`.
"""


def page() -> str:
    """Return the text of the page."""
    from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS

    parts = [HEAD]
    for name, check in sorted(CHECKS.items()):
        writes = "" if check.read_only else " Writes for a moment, so it is skipped in check mode."
        parts.append(f"## {name}\n\n{_plain(' '.join(check.doc.split()))}{writes}\n")
        rows = ["| parameter | type | default | what |", "|---|---|---|---|"]
        for key, param in check.params.items():
            kind = f"list of {param.elements}" if param.elements else param.type
            default = "required" if param.required else ("" if param.default is None else f"`{json.dumps(param.default)}`")
            choices = f" One of {', '.join(param.choices)}." if param.choices else ""
            rows.append(f"| `{key}` | {kind} | {default} | {_plain(param.doc)}{choices} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _plain(text: str) -> str:
    """Return documentation markup as Markdown."""
    return re.sub(r"C\(([^)]*)\)", r"`\1`", text)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / ".venv" / "collections")]
    PAGE.write_text(page(), encoding="utf-8")
