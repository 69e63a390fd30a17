# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the renderer: those of Ansible that templates of objects need, by the same names, and ``dns_name``.

Templates are rendered without Ansible's templar (a thousand tenants through it would take minutes), hence these few.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

try:
    import yaml
except ImportError:  # pragma: no cover - the renderer says so when it is called
    pass


def to_json(value: Any, indent: int | None = None) -> str:
    """Return ``value`` as JSON with sorted keys. JSON is YAML, so this is the safe way to place any value in a template.

    Values are plain data, so the only one that JSON does not know is an undefined variable; making it text raises its own error.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent, default=str)


def to_yaml(value: Any, indent: int = 2) -> str:
    """Return ``value`` as block YAML with sorted keys."""
    plain = json.loads(to_json(value))
    return str(yaml.safe_dump(plain, sort_keys=True, allow_unicode=True, default_flow_style=False, indent=indent, width=1_000_000))


def to_bool(value: Any) -> bool:
    """Return whether ``value`` means true: true, yes, on or 1."""
    return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "yes", "on", "1")


def b64encode(value: str) -> str:
    """Return the base64 text of ``value`` as UTF-8."""
    return base64.b64encode(str(value).encode()).decode()


def digest(value: Any, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a text, or of the JSON of anything else."""
    text = value if isinstance(value, str) else to_json(value)
    return hashlib.new(algorithm, text.encode()).hexdigest()


def dns_name(value: str) -> str:
    """Return ``value`` as a part of a Kubernetes name: lower case, underscores become dashes."""
    return str(value).lower().replace("_", "-")


def combine(value: Mapping[str, Any], *others: Mapping[str, Any], recursive: bool = False) -> dict[str, Any]:
    """Return the mappings merged, later ones first in rank; ``recursive`` merges nested mappings too."""
    result = dict(value)
    for other in others:
        for key, item in other.items():
            old = result.get(key)
            if recursive and isinstance(old, Mapping) and isinstance(item, Mapping):
                item = combine(old, item, recursive=True)
            result[key] = item
    return result


def dict2items(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a mapping as dictionaries of ``key`` and ``value``."""
    return [{"key": key, "value": item} for key, item in value.items()]


def regex_replace(value: str, pattern: str, replacement: str) -> str:
    """Return ``value`` with every match of ``pattern`` replaced."""
    return re.sub(pattern, replacement, str(value))


FILTERS: dict[str, Callable[..., Any]] = {
    "b64encode": b64encode,
    "bool": to_bool,
    "combine": combine,
    "dict2items": dict2items,
    "dns_name": dns_name,
    "hash": digest,
    "regex_replace": regex_replace,
    "to_json": to_json,
    "to_nice_yaml": to_yaml,
    "to_yaml": to_yaml,
}
