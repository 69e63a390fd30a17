# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three outcomes of a look at an object, and small readers that the readiness rules share."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

READY, PROGRESS, FAILED = "ready", "progress", "failed"
# As kstatus: a pod may be without a node for this long (a node or a volume may just be coming).
NODE_SECONDS = 15.0
Obj = Mapping[str, Any]


@dataclass(frozen=True)
class Readiness:
    """``outcome`` is ready, progress or failed (for good); ``reason`` one clause; ``pod`` and ``container`` have the log that explains it."""

    outcome: str
    reason: str
    pod: str | None = None
    container: str | None = None


def seconds_since(timestamp: Any, now: float | None) -> float:
    """Return the seconds from an RFC 3339 time to ``now`` (epoch, the server's clock); 0 when one of them is not known."""
    if not timestamp or now is None:
        return 0.0
    try:
        return now - datetime.datetime.fromisoformat(str(timestamp).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def status_of(obj: Obj) -> Obj:
    """Return the status of an object, {} when it has none."""
    return obj.get("status") or {}


def conditions_of(obj: Obj) -> dict[str, Obj]:
    """Return the conditions of an object by type."""
    return {str(item.get("type")): item for item in status_of(obj).get("conditions") or []}


def ready(reason: str) -> Readiness:
    """Return that it is ready."""
    return Readiness(READY, reason)


def progress(reason: str) -> Readiness:
    """Return that it is in progress."""
    return Readiness(PROGRESS, reason)


def failed(reason: str) -> Readiness:
    """Return that it has failed for good."""
    return Readiness(FAILED, reason)


def counts(*pairs: tuple[str, int, int]) -> Readiness | None:
    """Return the first (word, have, want) that falls short, None when none does."""
    for word, have, want in pairs:
        if have < want:
            return progress(f"{have} of {want} replicas {word}")
    return None


def version_of(obj: Obj) -> int:
    """Return at which version an object was read, 0 when it does not say: of one kind, what was written later has the higher one."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def last_seen(event: Obj) -> str:
    """Return when an event was seen last, as text that sorts by time."""
    seen = event.get("lastTimestamp") or (event.get("series") or {}).get("lastObservedTime") or event.get("eventTime")
    return str(seen or (event.get("metadata") or {}).get("creationTimestamp") or "")
