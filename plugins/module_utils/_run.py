# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call on a tenant's release: what is asked, what is recorded, and the steps that its states are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims, _diff
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Engine, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import version_of
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref, Resources, phase_of
from ansible_collections.barberpro.platform.plugins.module_utils._store import Store, content_hash, numbered
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction
from ansible_collections.barberpro.platform.plugins.module_utils._wait import wait_ready

# Between the gateway's word that it took the new route and the end of the pods it sent traffic to before. Envoy Gateway gives its word when its
# proxy has the route; others may be a moment behind, and the pods themselves go on answering while they drain.
SETTLE_SECONDS = 1.0
# Waits until objects are ready, at most so many seconds and none seen at an earlier version than given, and returns how long it took. Raises NotReady.
Waiter = Callable[[list[Ref], float, Mapping[Ref, int]], float]


class Run:
    """One call on one tenant's release: its options, the record, and what has been done so far."""

    def __init__(
        self, client: Client, options: Mapping[str, Any], check_mode: bool, *, resources: Resources | None = None, waiter: Waiter | None = None
    ) -> None:
        """``resources`` and ``waiter`` are those that a fleet's tenants share; without them this call has its own."""
        self.client = client
        self.resources = resources or Resources(client)
        self.waiter = waiter or partial(wait_ready, client)
        self.options = options
        self.tenant = str(options["name"])
        self.namespace = str(options.get("namespace") or f"tenant-{self.tenant}")
        self.dry = check_mode or options["state"] == "planned"
        self.transaction = Transaction(self.resources, self.tenant, options.get("run"), self.dry)
        self.store = Store(self.resources, self.tenant, self.transaction.touch)
        # Before anything else is read: a run that ends after this is not in what this one sees.
        self.fence = self.transaction.lease.fence() if options["state"] == "planned" else None
        self.record, self.kept = self.store.opened()
        # What the way back of this run leads to, whatever it has noted since; see conclude.
        self.finished_before, self.proven_before = self.record.finished, frozenset(self.record.proven)
        # Sets of runs that were killed before the record knew of them: none of them is a revision to return to.
        self.unrecorded = {number for number in self.kept if number > self.record.written}
        self.deadline = time.monotonic() + float(options["wait_timeout"])
        self.new_tenant = self.resources.get(Ref("v1", "Namespace", "", self.namespace)) is None
        # Somebody's tenant, of which nobody knows any more what serves: a first deploy that fails leaves it where it is.
        self.without_record = not self.new_tenant and self.record.stored is None
        stand_in = (self.namespace, str(options["preflight_namespace"])) if self.new_tenant and self.dry else None
        force = bool(options.get("force_conflicts"))
        touch = self.transaction.touch
        self.engine = Engine(self.resources, self.tenant, self.record.objects, force=force, stand_in=stand_in, before_write=touch)
        # Intents are enough to find the way back: with this, the caller records outcomes once, and a set that is new is itself the intent.
        self.outcomes_late = False
        self.done: list[Change] = []
        self.warnings: list[str] = []
        # At which versions the server has what this run wrote: a watch that has not come to them yet shows what was before.
        self.versions: dict[Ref, int] = {}
        self.wrote = False
        self.waited = 0.0
        self.removed_tenant = False
        self.number: int | None = self.record.current
        self.hash = ""

    # What is asked

    def asked(self) -> list[dict[str, Any]]:
        """Return the given set with its number filled in. Raises PlatformError when there is none."""
        objects = list(self.options.get("objects") or [])
        if not objects:
            raise PlatformError(f"tenant {self.tenant}: state {self.options['state']} needs objects, the rendered set; give it")
        self.hash = content_hash(objects)
        self.number = self.number_of(self.hash)
        return numbered(objects, self.number)

    def promoted_set(self) -> list[dict[str, Any]]:
        """Return the stored set of the current revision. Raises PlatformError when there is none."""
        if self.record.current is None:
            raise PlatformError(f"tenant {self.tenant} has no promoted revision, so there is none to finish; deploy it")
        self.number = self.record.current
        return numbered(self.store.read(self.number), self.number)

    def number_of(self, content: str) -> int:
        """Return the revision number of a content: the current's or the pending's when it is the same, else the next unused one."""
        for number in (self.record.current, self.record.pending):
            if number is not None and number in self.kept and self.kept[number].content_hash == content:
                return number
        return max([self.record.highest, self.record.current or 0, self.record.pending or 0]) + 1

    def settled(self, objects: Iterable[dict[str, Any]], number: int | None) -> list[dict[str, Any]]:
        """Return the set without Jobs when the revision was promoted before: they have done their work, once."""
        promoted = number is not None and number == self.record.current
        return [obj for obj in objects if not (promoted and obj.get("kind") == "Job")]

    def leftovers(self, objects: Iterable[dict[str, Any]]) -> list[str]:
        """Return the recorded keys that a set does not hold."""
        wanted = {Ref.of(obj).key for obj in objects}
        return [key for key in self.record.objects if key not in wanted]

    # What is done

    def begin(self, number: int, plan: Plan | None = None) -> None:
        """Store the asked set and note it as pending, with the intents of ``plan``; nothing when it is the current one.

        With a plan the record is not written where the stored set says the same, which it does not of objects that are made anew; see _store.
        """
        if self.dry:
            return
        anew = plan is not None and self.engine.announce(plan)
        if number == self.record.current:
            if plan is not None:
                self.save()
            return
        kept = self.kept.get(number)
        if kept is None or kept.content_hash != self.hash:
            self.kept[number] = self.store.write(number, list(self.options["objects"]), self.hash)
        superseded, self.record.pending = self.record.pending, number
        self.record.highest = max(self.record.highest, number)
        # What a killed run has staged is none to return to; its objects are in the record and go when this run finishes.
        left = {superseded or number, *self.unrecorded} - {number}
        if plan is None or left or anew or number <= self.record.written:
            self.save()
        self.drop_revisions(left)

    def save(self) -> None:
        """Write the record if it has changed; nothing in a dry run."""
        if not self.dry and self.store.save(self.record):
            self.wrote = True

    def note(self, plan: Plan) -> None:
        """Take the changes of a plan into the result, once each."""
        known = {(change.ref, change.action) for change in self.done}
        self.done += [change for change in plan.changes if (change.ref, change.action) not in known]

    def execute(self, plan: Plan) -> None:
        """Apply a plan, with its intents recorded before and its outcome after, also when it fails half-way.

        Where nothing is to be applied, what the plan has found to be ours is recorded: of a run that was killed before an object's outcome, it is an intent.
        """
        self.note(plan)
        if self.dry:
            return
        if not plan.effective():
            if not self.outcomes_late:
                self.save()
            return
        self.transaction.touch()
        self.engine.announce(plan)
        if not self.outcomes_late:
            self.save()
        late = False
        try:
            self.engine.execute(plan)
            self.versions.update({change.ref: version_of(change.after) for change in plan.effective() if change.after})
            late = self.outcomes_late
        finally:
            if not late:
                self.save()

    def wait(self, objects: Iterable[dict[str, Any]]) -> None:
        """Wait until these objects are ready. Raises NotReady."""
        if not self.dry:
            self.waited += self.waiter([Ref.of(obj) for obj in objects], max(1.0, self.deadline - time.monotonic()), self.versions)

    def bring_up(self, objects: Sequence[dict[str, Any]], plan: Plan) -> None:
        """Apply workloads, wave by wave, and wait for all of them at once.

        A new pod is not ready before its schema is migrated, so it starts while the Job migrates: both take seconds of a
        small processor share, which need not be spent one after the other.
        """
        self.execute(plan)
        self.wait(objects)

    def delete_leftovers(self, objects: Sequence[dict[str, Any]]) -> None:
        """Delete what we made and the set does not hold; forget what is gone already."""
        keys = self.leftovers(objects)
        self.execute(self.engine.plan([], remove=keys))
        self.forget(keys)

    def forget(self, keys: Iterable[str]) -> None:
        """Take objects out of the record: they are gone, or somebody else has made them anew."""
        if not self.dry:
            for key in keys:
                self.record.objects.pop(key, None)

    def take_host(self, host: str) -> None:
        """Claim a host name for the tenant; nothing for "". Raises PlatformError when another tenant has it."""
        if host:
            self.note(Plan([_claims.take(self.resources, self.tenant, host, dry_run=self.dry, before_write=self.store.before_write)]))

    def release_hosts(self, keep: str) -> None:
        """Give back the host names that the tenant has claimed, but ``keep`` ("" keeps none) and those that routes of its people still name.

        By then the release is what was asked for, so such a route does not fail it; the next run tries again.
        """
        claims = _claims.release(self.resources, self.tenant, keep=keep, in_use=self._still_routed, dry_run=self.dry, before_write=self.store.before_write)
        self.note(Plan(claims))

    def _still_routed(self, host: str) -> bool:
        """Return whether a route that is not ours names a host or a name below it, and warn of it: whoever had the host next would share it."""
        found = [
            f"{Ref.of(route)} ({name})"
            for route, name in _claims.routes(self.resources, host, self.namespace)
            if (route["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") != PREFIX
        ]
        warning = (
            f"tenant {self.tenant} keeps the host {host}: {', '.join(found)} is none of the platform's routes and answers there, so nobody else may have "
            "the host; have the tenant's owner change or delete what is named, then deploy the tenant again, which gives the host back"
        )
        if found and warning not in self.warnings:
            self.warnings.append(warning)
        return bool(found)

    def drop_revisions(self, numbers: Iterable[int]) -> None:
        """Delete stored sets."""
        for number in sorted(set(numbers) & set(self.kept)):
            if not self.dry:
                self.store.drop(number)
                self.wrote = True
            del self.kept[number]

    def result(self) -> dict[str, Any]:
        """Return what the module returns."""
        effective = [change for change in self.done if change.action != "unchanged"]
        return {
            "changed": bool(effective) or self.wrote,
            "revision": f"r{self.number}" if self.number else "none",
            "number": self.number,
            "current": self.record.current,
            "pending": self.record.pending,
            "previous": self.record.finished if self.record.finished in self.kept else self.record.current,
            "kept": sorted(self.kept),
            "content_hash": self.hash or (self.kept[self.number].content_hash if self.number in self.kept else ""),
            "new_tenant": self.new_tenant,
            "removed_tenant": self.removed_tenant,
            "changes": [change.shown() for change in effective],
            "unchanged": sum(change.action == "unchanged" for change in self.done),
            "warnings": self.warnings,
            "waited_seconds": round(self.waited, 3),
            "diff": _diff.entries((str(change.ref), change.before, change.after) for change in effective),
        }


def in_phase(objects: Iterable[dict[str, Any]], *phases: str) -> list[dict[str, Any]]:
    """Return the objects of these phases."""
    return [obj for obj in objects if phase_of(obj) in phases]


def conclude(run: Run, number: int) -> None:
    """Note that a run has ended well, and trim the history: the newest ``keep``, never the current one.

    The history is trimmed when the record is written: until then a run that fails needs the revision that served before, however few are kept.
    """
    run.drop_revisions({run.record.pending or number, *run.unrecorded} - {number})
    newest = sorted(run.kept, reverse=True)[: max(1, int(run.options["keep"]))]
    old = {other for other in run.kept if other not in newest and other != number}
    if not run.dry:
        run.record.current, run.record.pending, run.record.finished = number, None, number
        run.record.proven = (run.record.proven | {number}) & (set(run.kept) - old)
        run.save()
    run.drop_revisions(old)
