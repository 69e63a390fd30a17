# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of diffs before they reach a report.

Modules redact what they return already; a report is kept for long and read by many, so it does not rely on that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MARK = "(redacted)"
_SENSITIVE = re.compile(r"pass(word|phrase|wd)|token|secret_?key|private_?key|api_?key|credential", re.IGNORECASE)
_SECRET = re.compile(r"^\s*(?:- )?kind:\s*['\"]?Secret['\"]?\s*$")
_SECTION = re.compile(r"^(\s*)(data|stringData):\s*$")
_IN_LOG = re.compile(rf"((?:{_SENSITIVE.pattern})[\w-]*[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s\"',;&{{}}\[\]]+)", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+(?=@)")
_ENTRY = re.compile(r"^(\s*)([^\s:][^:]*):\s*(\S.*)?$")


def redact_diff(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a diff (``before``, ``after``, ``prepared``) without secrets."""
    found = {key: redact(value) if key in ("before", "after") else value for key, value in entry.items()}
    if isinstance(found.get("prepared"), str):
        found["prepared"] = redact_text(found["prepared"], prepared=True)
    return found


def redact(value: Any) -> Any:
    """Return text or data without secrets: values of Secrets, and of keys that are named like one."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        secret = value.get("kind") == "Secret"
        return {key: _masked(item) if secret and key in ("data", "stringData") else _by_name(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    return value


def _by_name(key: Any, item: Any) -> Any:
    """Return a value, or the mark when its key says that it is a secret and it is text."""
    if isinstance(item, str) and item and _SENSITIVE.search(str(key)):
        return _mark(item)
    return redact(item)


def _masked(section: Any) -> Any:
    """Return the data of a Secret with every value marked."""
    return {key: _mark(value) for key, value in section.items()} if isinstance(section, Mapping) else MARK


def _mark(value: Any) -> Any:
    """Return the mark, or what is one already."""
    return value if str(value).startswith("(redacted") else MARK


def redact_text(text: str, prepared: bool = False) -> str:
    """Return YAML text in which the values of Secrets are marked; multi-line values lose their lines.

    Works line by line because a diff's text need not be a whole document. A ``prepared`` diff has a mark before each line. Where a text
    has a Secret, the data of its other objects is marked too: which lines belong to which object is not sure in a part of a document.
    """
    pairs = [(line[:1], line[1:]) if prepared and line[:1] in ("+", "-", " ") else ("", line) for line in text.splitlines()]
    if not any(_SECRET.match(line) for _first, line in pairs):
        return text
    lines = []
    depth, hidden = -1, -1  # indentation of the section we are in, and of the value whose further lines are hidden
    for first, line in pairs:
        indent = len(line) - len(line.lstrip(" "))
        section, entry = _SECTION.match(line), _ENTRY.match(line)
        if section:
            depth, hidden = indent, -1
        elif depth >= 0 and line.strip() and indent <= depth:
            depth = -1
        elif depth >= 0 and 0 <= hidden < indent:
            continue
        elif depth >= 0 and entry:
            hidden = indent
            line = f"{entry[1]}{entry[2]}: {_mark(entry[3] or '')}"
        lines.append(first + line)
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def redact_line(line: str) -> str:
    """Return a line of a log in which the password of an address and what follows a name like ``token=`` are marked."""

    def marked(found: re.Match[str]) -> str:
        name, value = found[1], found[found.re.groups]
        quote = value[0] if value[0] in "\"'" else ""
        return f"{name}{quote}{MARK}{quote}"

    return _IN_LOG.sub(marked, _IN_URL.sub(rf"\g<1>{MARK}", line))
