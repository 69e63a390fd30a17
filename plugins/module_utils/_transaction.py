# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run on a tenant as a transaction: the lease keeps others off it, the journal says what was meant before it is done.

Both begin with the first write of a run and not before, so that a run that changes nothing leaves nothing behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _journal
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._journal import Journal
from ansible_collections.barberpro.platform.plugins.module_utils._lease import Held, Lease, shown
from ansible_collections.barberpro.platform.plugins.module_utils._resources import TENANT_LABEL, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._store import record_ref

STATES = ("inspected", "begun", "renewed", "intended", "done", "ended")


class Transaction:
    """One run's transaction on one tenant. Without a ``run`` (a module used on its own) it does nothing."""

    def __init__(self, resources: Resources, tenant: str, run: Mapping[str, Any] | None, dry: bool = False) -> None:
        self.run = dict(run or {})
        self.active = bool(self.run) and not dry
        self.tenant = tenant
        self.lease = Lease(resources, tenant, self.run)
        self.journal = Journal(resources, tenant)
        self._step: tuple[str, Callable[[], Mapping[str, Any]]] | None = None
        self._stack = ExitStack()
        self._begun = False
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str, undo: Callable[[], Mapping[str, Any]] = dict) -> Iterator[None]:
        """Make what the body writes one step: its intent is recorded at the first ``touch()``, its outcome when the body ends well."""
        self._step = (name, undo)
        with self._stack:
            yield
            if self._begun:
                self.done(name)

    def touch(self) -> None:
        """Call before each write: takes the lease and records the intent once, and stops a run that has lost its lease."""
        if not self.active:
            return
        self.lease.guard()
        with self._lock:
            if self._begun or self._step is None:
                return
            name, undo = self._step
            self.intend(name, undo())
            self._stack.enter_context(self.lease.kept())
            self._begun = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the lease while the body only looks, if this run has it already: a gate may take longer than the lease lasts."""
        with ExitStack() as stack:
            if self.active and self.renewed():
                stack.enter_context(self.lease.kept())
            yield

    def renewed(self) -> bool:
        """Return whether the lease is ours, renewed. An API server that does not answer is for the body to tell. Raises Held when it was taken."""
        try:
            if self.lease.holder()[1].get("id") != self.run["id"]:
                return False
            self.lease.renew()
        except Held:
            raise
        except PlatformError:
            return False
        return True

    def begin(self) -> _journal.Document:
        """Take the lease and the journal, whatever state an earlier run left it in. Returns the journal. Raises PlatformError as ``left`` does."""
        self.lease.acquire()
        try:
            found = self.left()
        except PlatformError:
            self.lease.release()
            raise
        document = _journal.taken(found, self.run) if found and not found["closed"] else self._opened()
        self.journal.save(document)
        return document

    def intend(self, step: str, undo: Mapping[str, Any] | None = None) -> None:
        """Record the intent of a step. Raises PlatformError when an earlier run's journal must be dealt with first."""
        self.lease.acquire()
        document = self.left()
        self._refuse(document)
        if document is None or document["closed"]:
            document = self._opened()
        self.journal.save(_journal.intended({**document, "run": self.run}, step, undo, self.journal.now()))

    def _opened(self) -> _journal.Document:
        """Return the journal of a run that begins. One that has nothing to return to says whether it finds the tenant there all the same."""
        return {**_journal.opened(self.run), "unrecorded": self.run.get("previous") is None and self._unrecorded()}

    def _unrecorded(self) -> bool:
        """Return whether the tenant has a namespace although it has no record: what serves there is not known, and is no first deploy's to remove."""
        resources = self.journal.resources
        if resources.get(record_ref(self.tenant)) is not None:
            return False
        namespaces = resources.list("v1", "Namespace", labels=f"{TENANT_LABEL}={self.tenant}", terse=True)
        return any(not item["metadata"].get("deletionTimestamp") for item in namespaces)

    @property
    def begun(self) -> bool:
        """Return whether this run has written something: it has the lease, and the journal is open."""
        return self._begun

    def look(self) -> None:
        """Raise what ``intend`` would, without a write: another run is at work, or an earlier one must be dealt with first."""
        self.lease.check()
        self._refuse(self.left())

    def left(self) -> _journal.Document | None:
        """Return the journal, None when there is none. Raises PlatformError when it is that of an offboarding and this run is none."""
        document = self.journal.load()
        if document is not None and self._following(document) == "refuse":
            run = document["run"]
            raise PlatformError(
                f"tenant {self.tenant} is being offboarded since {run.get('began', 'an unknown time')} by {run.get('user', 'unknown')}@"
                f"{run.get('host', 'unknown')}, whose run did not come to its end: finish it with offboard_tenant.yml. Nothing was changed by this run"
            )
        return document

    def _following(self, document: Mapping[str, Any] | None) -> str:
        return _journal.what_next(document, {"id": None, "operation": None, **self.run})

    def _refuse(self, document: Mapping[str, Any] | None) -> None:
        if self._following(document) in ("undo", "finish"):
            raise PlatformError(
                f"tenant {self.tenant}: the run of {shown((document or {})['run'])} was killed and is not cleared up; "
                "run deploy_vertical.yml or rollback_vertical.yml, which do that first"
            )

    def done(self, step: str) -> None:
        """Record the outcome of a step. Raises Held when another run has taken the lease, or the playbook was killed."""
        self.lease.guard()
        document = self.journal.load()
        if document is None:
            return
        if document["run"]["id"] != self.run["id"]:
            raise self.lease.superseded()
        self.journal.save(_journal.done(document, step, self.journal.now()))

    def end(self, outcome: str) -> bool:
        """Close the journal, unless ``outcome`` is "open" (the next run must clear up), and let the lease go. Returns whether there was one.

        Raises Held when another run has taken the lease, or the playbook was killed.
        """
        self.lease.guard()
        document = self.journal.load()
        ours = document is not None and document["run"]["id"] == self.run["id"] and not document["closed"]
        if document is not None and ours and outcome != "open":
            self.journal.save(_journal.closed(document, outcome, self.journal.now()))
        self.lease.release()
        return ours

    def forget(self) -> None:
        """Delete journal and lease of a tenant that is gone, the lease last. Raises Held when another run has begun on the tenant."""
        stored = self.lease.resources.get(self.journal.ref)
        self.lease.check(removed=True)
        if stored is not None:
            try:
                self.lease.resources.delete(self.journal.ref, version=stored["metadata"]["resourceVersion"])
            except ApiError as error:
                if error.status == 409:
                    raise self.lease.reborn({}) from error
                raise
        self.lease.remove()


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module C(transaction) is asked and return its result. Raises PlatformError."""
    resources = Resources(client)
    transaction = Transaction(resources, str(options["name"]), options["run"])
    state = str(options["state"])
    if state == "inspected" or check_mode:
        fence = transaction.lease.fence()
        transaction.lease.check()
        document = transaction.left()
        following = _journal.what_next(document, transaction.run)
        left = (document or {}).get("run") or {}
        said = {"next": following, "journal": document or {}, "left_by": shown(left) if following != "none" else ""}
        return {"changed": False, "fence": fence, **said}
    changed = True
    if state == "begun":
        transaction.begin()
    elif state == "renewed":
        changed = transaction.renewed()
    elif state == "intended":
        transaction.intend(str(options["step"]), options["undo"])
    elif state == "done":
        transaction.done(str(options["step"]))
    else:
        changed = transaction.end(str(options["outcome"]))
    return {"changed": changed, "next": "none", "journal": transaction.journal.load() or {}, "left_by": ""}
