# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a live object is as declared: every asked field is there with the same meaning, whatever the server adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _quantity

# What identifies an entry of a list, tried in this order; entries of such lists may be joined by those of others.
LIST_KEYS = ("name", "containerPort", "port", "mountPath", "key", "type", "ip")
# Written only or kept by the server alone.
NOT_COMPARED = ("stringData", "status")


def asked_fields(wanted: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """Return the fields of ``wanted`` that ``seen`` does not have as asked, each as ``path: seen instead of wanted``.

    Quantities are compared by value, an empty value equals an absent one, lists of named entries by name. Values of Secrets are not shown.
    """
    secret = wanted.get("kind") == "Secret"
    found = []
    for key in wanted:
        if key not in NOT_COMPARED:
            found += _differ(wanted[key], seen.get(key), key, strict=key == "metadata")
    if secret:
        return [item.partition(":")[0] for item in found]
    return found


def _differ(wanted: Any, seen: Any, path: str, strict: bool) -> list[str]:
    """Return the differences below ``path``; ``strict`` compares text as text."""
    if not wanted and not seen:  # empty text, list or mapping, zero and false equal an absent value
        return []
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        return [item for key in wanted for item in _differ(wanted[key], seen.get(key), f"{path}.{key}", strict)]
    if isinstance(wanted, list) and isinstance(seen, list):
        return _lists(wanted, seen, path, strict)
    if _equal(wanted, seen, strict):
        return []
    return [f"{path}: {_short(seen)} instead of {_short(wanted)}"]


def _lists(wanted: list[Any], seen: list[Any], path: str, strict: bool) -> list[str]:
    """Compare two lists: by their key where entries have one, else place by place."""
    identity = _identity(wanted, seen)
    if identity is None:
        if len(wanted) != len(seen):
            return [f"{path}: {len(seen)} entries instead of {len(wanted)}"]
        pairs = [(one, other, f"{path}[{place}]") for place, (one, other) in enumerate(zip(wanted, seen, strict=True))]
    else:
        live = {entry.get(identity): entry for entry in seen}
        pairs = [(entry, live.get(entry[identity]), f"{path}[{entry[identity]}]") for entry in wanted]
    return [item for one, other, where in pairs for item in _differ(one, other, where, strict)]


def _identity(wanted: list[Any], seen: list[Any]) -> str | None:
    """Return the key that tells the entries of both lists apart, if there is one."""
    if not wanted or not all(isinstance(entry, Mapping) for entry in wanted + seen):
        return None
    for key in LIST_KEYS:
        values = [entry.get(key) for entry in wanted]
        if all(isinstance(value, (str, int)) for value in values) and len(set(values)) == len(values):
            return key if len({str(entry.get(key)) for entry in seen}) == len(seen) else None
    return None


def _equal(wanted: Any, seen: Any, strict: bool) -> bool:
    """Return whether two scalars mean the same."""
    if isinstance(wanted, bool) or isinstance(seen, bool):
        return wanted is seen
    if wanted == seen:
        return True
    if strict:
        return False
    one, other = _quantity.parse(wanted), _quantity.parse(seen)
    return one is not None and one == other


def _short(value: Any) -> str:
    """Return a value as text that fits a sentence."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
