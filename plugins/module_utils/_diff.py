# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as a reader wants them in a diff: without the server's bookkeeping and without secrets."""

from __future__ import annotations

import hashlib
import importlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

# Set by the server on every write, or of no interest to who asks "what will be different".
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink", "deletionGracePeriodSeconds")
# Redacted values stay comparable within one run (same or not), and tell nothing afterwards.
_SALT = secrets.token_bytes(16)


def bare(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object without status and server bookkeeping; two such objects are equal when nothing a user sets differs."""
    clean = {key: value for key, value in obj.items() if key != "status"}
    metadata = clean.get("metadata")
    if isinstance(metadata, Mapping):
        clean["metadata"] = {key: value for key, value in metadata.items() if key not in _BOOKKEEPING}
    return clean


def redacted(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with the values of a Secret replaced by a mark that differs when the values differ."""
    if obj.get("kind") != "Secret":
        return dict(obj)
    shown = dict(obj)
    for section in ("data", "stringData"):
        values = obj.get(section)
        if isinstance(values, Mapping):
            shown[section] = {key: _mark(value) for key, value in values.items()}
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if "kubectl.kubernetes.io/last-applied-configuration" in annotations:
        kept = {key: value for key, value in annotations.items() if key != "kubectl.kubernetes.io/last-applied-configuration"}
        shown["metadata"] = {**shown["metadata"], "annotations": kept}
    return shown


def _mark(value: Any) -> str:
    return f"(redacted {hashlib.sha256(_SALT + str(value).encode()).hexdigest()[:8]})"


def render(obj: Mapping[str, Any] | None) -> str:
    """Return one object as YAML for a diff, "" for None."""
    if obj is None:
        return ""
    yaml = importlib.import_module("yaml")  # not at the top: a module must load without it to say what is missing
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(redacted(bare(obj)), Dumper=dumper, default_flow_style=False, sort_keys=True, width=140, allow_unicode=True)
    return text


def entries(pairs: Iterable[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]]) -> list[dict[str, str]]:
    """Return Ansible's ``diff`` for (title, before, after) of the objects that differ."""
    return [
        {"before_header": title, "after_header": title, "before": render(before), "after": render(after)} for title, before, after in pairs
    ]
