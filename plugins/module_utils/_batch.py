# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is live of many tenants, read by one LIST a kind instead of one for each tenant.

A Batch holds what it has listed until the tenant it is of takes it, so that the memory of a fleet is that of its batches and not of all
tenants. A View answers one tenant's questions from it in place of the API server; what the tenant itself has written is asked anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.barberpro.platform.plugins.module_utils._claims import CLAIM_LABEL
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._journal import JOURNAL_TYPE
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response
from ansible_collections.barberpro.platform.plugins.module_utils._store import RECORD_TYPE

Obj = dict[str, Any]


class Question(NamedTuple):
    """A LIST whose answer is divided by tenant; ``namespace`` is "" for all, ``labels`` come on top of the tenant's."""

    api_version: str
    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str | None = None
    terse: bool = False


# What the platform keeps of a tenant in its own namespace.
_RECORD = Question("v1", "Secret", SYSTEM_NAMESPACE, fields=f"type={RECORD_TYPE}")
_JOURNAL = Question("v1", "Secret", SYSTEM_NAMESPACE, fields=f"type={JOURNAL_TYPE}")
_REVISIONS = Question("v1", "Secret", SYSTEM_NAMESPACE, labels=f",{PREFIX}/revision", terse=True)
_LEASE = Question("coordination.k8s.io/v1", "Lease", SYSTEM_NAMESPACE)
_CLAIMS = Question("v1", "ConfigMap", SYSTEM_NAMESPACE, labels=f",{CLAIM_LABEL}=host")


class Batch:
    """The live objects of some tenants. Safe for threads; each kind is listed when it is first asked for."""

    def __init__(self, client: Client, tenants: Sequence[str], namespaces: frozenset[str]) -> None:
        """``namespaces`` are the names of all Namespaces that exist, whoever made them."""
        self.resources = Resources(client)
        self.tenants = tuple(tenants)
        self.namespaces = namespaces
        self._found: dict[Question, dict[str, list[Obj]]] = {}
        self._locks: dict[Question, threading.Lock] = {}
        self._lock = threading.Lock()

    def take(self, tenant: str, question: Question) -> list[Obj]:
        """Return what is live of one tenant, and forget it here."""
        with self._lock:
            lock = self._locks.setdefault(question, threading.Lock())
        with lock:
            if question not in self._found:
                self._found[question] = self._listed(question)
            return self._found[question].pop(tenant, [])

    def _listed(self, question: Question) -> dict[str, list[Obj]]:
        labels = f"{TENANT_LABEL} in ({','.join(self.tenants)}){question.labels}"
        found: dict[str, list[Obj]] = {}
        asked = (question.api_version, question.kind, question.namespace)
        for obj in self.resources.list(*asked, labels=labels, fields=question.fields, terse=question.terse):
            found.setdefault(obj["metadata"]["labels"][TENANT_LABEL], []).append(obj)
        return found


class View(Resources):
    """The verbs on one tenant's objects, with reads answered from a Batch until the tenant has written there itself."""

    def __init__(self, client: Client, tenant: str, batch: Batch) -> None:
        super().__init__(client)
        self.tenant = tenant
        self.batch = batch
        self._taken: dict[Question, list[Obj]] = {}
        self._written: set[Ref] = set()

    def _items(self, question: Question) -> list[Obj]:
        if question not in self._taken:
            self._taken[question] = self.batch.take(self.tenant, question)
        return self._taken[question]

    def _own(self, api_version: str, kind: str) -> list[Obj]:
        """Return what the tenant has of a kind, without what the platform keeps of it (reports are many and long)."""
        fields = f"metadata.namespace!={SYSTEM_NAMESPACE}" if self.namespaced(api_version, kind) else None
        return self._items(Question(api_version, kind, fields=fields))

    def get(self, ref: Ref) -> Obj | None:
        """Return the live object, or None when it does not exist."""
        if ref in self._written:
            return super().get(ref)
        if ref.namespace == SYSTEM_NAMESPACE:
            return self._kept(ref)
        if not self._exists(ref.namespace or (ref.name if ref.kind == "Namespace" else "")):
            return None
        found = next((obj for obj in self._own(ref.api_version, ref.kind) if Ref.of(obj) == ref), None)
        # One that is going is looked at until it is gone; one that is not the tenant's is not in the batch.
        if found is None or found["metadata"].get("deletionTimestamp"):
            return super().get(ref)
        return found

    def _exists(self, namespace: str) -> bool:
        return not namespace or namespace in self.batch.namespaces

    def _kept(self, ref: Ref) -> Obj | None:
        """Return what the platform keeps of the tenant. Absent is final: all of these are created, and an API server creates a name once."""
        secrets = {f"release-{self.tenant}-record": _RECORD, f"journal-{self.tenant}": _JOURNAL}
        question = secrets.get(ref.name) if ref.kind == "Secret" else {"Lease": _LEASE, "ConfigMap": _CLAIMS}.get(ref.kind)
        if question is None:
            return super().get(ref)
        return next((obj for obj in self._items(question) if Ref.of(obj) == ref), None)

    def list(
        self, api_version: str, kind: str, namespace: str = "", *, labels: str | None = None, fields: str | None = None, terse: bool = False
    ) -> list[Obj]:
        """Return the tenant's objects of a kind; only a selector that names the tenant is answered without the API server."""
        asked = _pairs(labels)
        fresh = any((ref.api_version, ref.kind, ref.namespace) == (api_version, kind, namespace) for ref in self._written)
        if asked.get(TENANT_LABEL) != self.tenant or fields or fresh:
            return super().list(api_version, kind, namespace, labels=labels, fields=fields, terse=terse)
        if not self._exists(namespace):
            return []
        if namespace == SYSTEM_NAMESPACE:
            question = {("Secret", True): _REVISIONS, ("ConfigMap", False): _CLAIMS}.get((kind, terse))
            if question is None or question.labels[1:].partition("=")[0] not in asked:
                return super().list(api_version, kind, namespace, labels=labels, terse=terse)
            return [obj for obj in self._items(question) if _selected(obj, namespace, asked)]
        return [obj for obj in self._own(api_version, kind) if _selected(obj, namespace, asked)]

    def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False, force: bool = False, terse: bool = False) -> Response:
        """See Resources.apply."""
        self._note(Ref.of(obj), dry_run)
        return super().apply(obj, dry_run=dry_run, force=force, terse=terse)

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = False, terse: bool = False) -> Obj:
        """See Resources.create."""
        self._note(Ref.of(obj), dry_run)
        return super().create(obj, dry_run=dry_run, terse=terse)

    def replace(self, obj: Mapping[str, Any], *, terse: bool = False) -> Obj:
        """See Resources.replace."""
        self._note(Ref.of(obj), False)
        return super().replace(obj, terse=terse)

    def delete(self, ref: Ref, *, uid: str | None = None, version: str | None = None, propagation: str = "Background") -> bool:
        """See Resources.delete."""
        self._note(ref, False)
        return super().delete(ref, uid=uid, version=version, propagation=propagation)

    def _note(self, ref: Ref, dry_run: bool) -> None:
        if not dry_run:
            self._written.add(ref)


def _pairs(labels: str | None) -> dict[str, str | None]:
    """Return a label selector of equalities and bare keys as a dictionary; a bare key has the value None."""
    parts = [part.partition("=") for part in (labels or "").split(",") if part]
    return {key: value if sep else None for key, sep, value in parts}


def _selected(obj: Obj, namespace: str, asked: Mapping[str, str | None]) -> bool:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    return (not namespace or metadata.get("namespace") == namespace) and all(
        key in labels and value in (None, labels[key]) for key, value in asked.items()
    )
