# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of one tenant's newest run: what it meant to do before it did it, and what became of it.

A run that was killed leaves its journal open. The next one, from whatever machine, reads there whether to go on, to finish or to undo.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources

JOURNAL_TYPE = f"{PREFIX}/journal.v1"
COMMIT = "finished"
"""The step from which on a run is carried to its end, and no longer undone."""
OFFBOARD = "offboard"
"""The operation that nothing brings back once it has begun to remove: only another one of its kind goes on with it."""
REMOVED = "removed"
"""The step from which on an offboarding removes."""

Document = dict[str, Any]


def what_next(document: Mapping[str, Any] | None, run: Mapping[str, Any]) -> str:
    """Return what a run does with the journal that it finds: none, adopt, finish, undo or refuse. Pure.

    ``adopt``: the run that was killed wanted the same, so this one goes on with it. ``finish``: it had succeeded but for tidying up.
    ``undo``: it wanted something else. ``refuse``: it was destroying the tenant, which cannot be undone, and this run wants something else;
    an offboarding that has not begun to remove (a legal hold may have come) has left at most what the run before it left.
    """
    if not document or document.get("closed") or document["run"]["id"] == run["id"]:
        return "none"
    steps = [step["step"] for step in document["steps"]]
    if document["run"]["operation"] == OFFBOARD and (run["operation"] == OFFBOARD or REMOVED in steps):
        return "adopt" if run["operation"] == OFFBOARD else "refuse"
    if COMMIT in steps:
        return "finish"
    same = document["run"]["operation"] == run["operation"] and document["run"].get("content") == run.get("content")
    return "adopt" if same and run.get("content") else "undo"


def opened(run: Mapping[str, Any]) -> Document:
    """Return the journal of a run that begins. ``run`` says who (see _lease) and what: ``operation``, ``content``, ``previous``.

    ``unrecorded`` says that the tenant was there without a record of what served, so that having no ``previous`` does not make it a first deploy.
    """
    return {"run": dict(run), "previous": run.get("previous"), "unrecorded": False, "steps": [], "closed": None, "outcome": None}


def taken(document: Document, run: Mapping[str, Any]) -> Document:
    """Return the journal of a run that was killed, taken over by ``run`` to clear it up.

    What the killed one wanted stays in it: should this one be killed too, the next sees whose steps these are, and that they are to be undone.
    An offboarding undoes nothing: its steps and those that it has found are its own from then on, to be cleared away.
    """
    if run.get("operation") == OFFBOARD:
        return {**document, "run": dict(run)}
    kept = {key: document["run"].get(key) for key in ("operation", "content")}
    return {**document, "run": {**run, **kept}}


def intended(document: Document, step: str, undo: Mapping[str, Any] | None, now: str) -> Document:
    """Return the journal with the intent of a step.

    A step that is intended again (the run before was killed in it) keeps what was noted for its undo: that is the state before both.
    """
    earlier: Document = next((entry for entry in document["steps"] if entry["step"] == step), {})
    entry = {"step": step, "intended": now, "done": None, "undo": earlier.get("undo") or dict(undo or {})}
    return {**document, "steps": [other for other in document["steps"] if other["step"] != step] + [entry]}


def done(document: Document, step: str, now: str) -> Document:
    """Return the journal with the outcome of a step."""
    return {**document, "steps": [{**entry, "done": now} if entry["step"] == step else entry for entry in document["steps"]]}


def closed(document: Document, outcome: str, now: str) -> Document:
    """Return the journal of a run that has ended; ``outcome`` is succeeded or undone."""
    return {**document, "closed": now, "outcome": outcome}


class Journal:
    """The journal as it is kept: a Secret of the system namespace, which tenants cannot read and which is encrypted at rest."""

    def __init__(self, resources: Resources, tenant: str) -> None:
        self.resources = resources
        self.tenant = tenant
        self.ref = Ref("v1", "Secret", SYSTEM_NAMESPACE, f"journal-{tenant}")
        self.stored: dict[str, Any] | None = None

    def now(self) -> str:
        """Return the API server's time."""
        return datetime.fromtimestamp(self.resources.client.now(), UTC).isoformat(timespec="milliseconds")

    def load(self) -> Document | None:
        """Return the journal, None when the tenant never had one. Raises PlatformError when it cannot be understood."""
        self.stored = self.resources.get(self.ref)
        if self.stored is None:
            return None
        try:
            document: Document = json.loads(base64.b64decode(self.stored["data"]["journal"]))
        except (KeyError, ValueError) as error:
            raise PlatformError(f"{self.ref}: the journal of tenant {self.tenant} cannot be read ({error!r}); restore it from a backup") from error
        return document

    def save(self, document: Document) -> None:
        """Write the journal. Raises PlatformError when another run has written it since it was loaded."""
        metadata: dict[str, Any] = {
            "name": self.ref.name,
            "namespace": self.ref.namespace,
            "labels": {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: self.tenant},
        }
        content = base64.b64encode(json.dumps(document, sort_keys=True).encode()).decode()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": JOURNAL_TYPE, "data": {"journal": content}}
        try:
            if self.stored is None:
                self.stored = self.resources.create(secret)
            else:
                metadata["resourceVersion"] = self.stored["metadata"]["resourceVersion"]
                self.stored = self.resources.replace(secret)
        except ApiError as error:
            if error.status == 409:
                raise PlatformError(f"{self.ref}: another run has changed tenant {self.tenant} in the meantime; wait for its end and run again") from error
            raise
