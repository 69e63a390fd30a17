# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge many objects: plan by comparing with what was asked last time, then server-side apply in waves.

Values cannot be compared with what was asked (the server turns ``1000m`` into ``1``). So the record of a tenant keeps, for each object,
its uid, a hash of what was asked and a digest of our managedFields entry. One LIST a kind shows which objects still match all three; only
the others are dry-run on the server, and only what the dry run would change is applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _renaming
from ansible_collections.barberpro.platform.plugins.module_utils._client import MANAGER
from ansible_collections.barberpro.platform.plugins.module_utils._diff import bare
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import conditions_of
from ansible_collections.barberpro.platform.plugins.module_utils._resources import (
    TENANT_LABEL,
    Ref,
    Resources,
    digest,
    own_digest,
    own_fields,
    phase_of,
    ref_of_key,
)
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response
from ansible_collections.barberpro.platform.plugins.module_utils._waves import order_in_wave, wave_of

# Made by the cluster in every namespace: ours to configure, never ours to delete.
_ADOPTED = {("ServiceAccount", "default")}


@dataclass
class Entry:
    """What the record keeps of one object. ``uid`` is None between the intent and its outcome."""

    uid: str | None
    asked: str
    digest: str | None
    api_version: str
    phase: str


@dataclass
class Change:
    """What is to happen to one object. ``action``: created, changed, deleted or unchanged."""

    ref: Ref
    action: str
    phase: str
    desired: dict[str, Any] | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    recreate: bool = False

    def shown(self) -> dict[str, str]:
        """Return the change as modules report it."""
        return {"object": str(self.ref), "action": self.action, "phase": self.phase}


@dataclass
class Plan:
    """All changes of one call, the unchanged objects included."""

    changes: list[Change] = field(default_factory=list)

    def effective(self) -> list[Change]:
        """Return the changes that are none of "unchanged"."""
        return [change for change in self.changes if change.action != "unchanged"]

    def select(self, accept: Callable[[Change], bool]) -> Plan:
        """Return the plan of those changes that ``accept`` says yes to."""
        return Plan([change for change in self.changes if accept(change)])


class Engine:
    """Plans and applies the objects of one tenant.

    ``entries`` is the record's part on objects and is kept up to date; ``stand_in`` (namespace, preflight namespace) makes dry runs of a
    namespace that does not exist yet happen in another one; ``force`` takes over fields of other managers; ``absent`` names a namespace that
    is known not to exist, so that nothing in it is tried before it is applied; ``terse`` asks for no more of an applied object than its metadata;
    ``before_write`` is called before each write and may raise, to stop a run that has lost its lease.
    """

    def __init__(
        self,
        resources: Resources,
        tenant: str,
        entries: dict[str, Entry],
        *,
        force: bool = False,
        stand_in: tuple[str, str] | None = None,
        absent: str | None = None,
        terse: bool = False,
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self.resources = resources
        self.tenant = tenant
        self.entries = entries
        self.force = force
        self.stand_in = stand_in
        self.absent = absent
        self.terse = terse
        self.before_write = before_write

    def live(self, refs: Iterable[Ref]) -> dict[str, dict[str, Any]]:
        """Return the tenant's live objects by key: one LIST a kind and namespace, one GET for each object outside of namespaces."""
        lists: set[tuple[str, str, str]] = set()
        single: set[Ref] = set()
        for ref in refs:
            if self.absent and ref.namespace == self.absent:
                continue
            if ref.namespace:
                lists.add((ref.api_version, ref.kind, ref.namespace))
            else:
                single.add(ref)
        selector = f"{TENANT_LABEL}={self.tenant}"
        client = self.resources.client
        found: dict[str, dict[str, Any]] = {}
        for page in checked(client.map(lambda item: self.resources.list(*item, labels=selector), sorted(lists))):
            found.update({Ref.of(obj).key: obj for obj in page})
        for obj in checked(client.map(self.resources.get, sorted(single))):
            if obj is not None and self.is_ours(obj):
                found[Ref.of(obj).key] = obj
        return found

    def is_ours(self, obj: Mapping[str, Any]) -> bool:
        """Return whether an object carries the label of this tenant."""
        labels = (obj.get("metadata") or {}).get("labels") or {}
        return bool(labels.get(TENANT_LABEL) == self.tenant)

    def plan(self, desired: Sequence[dict[str, Any]], *, remove: Iterable[str] = ()) -> Plan:
        """Say what converging ``desired`` and deleting the recorded keys ``remove`` would do. Sends reads and dry runs only."""
        wanted = self.check(desired)
        removable = {key: ref_of_key(key, self.entries[key].api_version) for key in remove if key in self.entries and key not in wanted}
        live = self.live([*(Ref.of(obj) for obj in wanted.values()), *removable.values()])
        renamed = _renaming.renamings(wanted.values(), live)
        made = wanted.keys() - live.keys()
        changes = checked(self.resources.client.map(lambda item: self._judge(item[1], live.get(item[0]), renamed, made), list(wanted.items())))
        for key, ref in removable.items():
            if self._may_delete(key, ref, live.get(key)):
                changes.append(Change(ref, "deleted", self.entries[key].phase, before=live[key]))
        return Plan(changes)

    def check(self, desired: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the objects by key. Raises PlatformError for one that is not the tenant's, holds secret values, or is there twice."""
        wanted: dict[str, dict[str, Any]] = {}
        for obj in desired:
            ref = Ref.of(obj)
            if not self.is_ours(obj):
                raise PlatformError(f"{ref}: label {TENANT_LABEL} must be {self.tenant}; correct the template that made it")
            if ref.kind == "Secret" and (obj.get("data") or obj.get("stringData")):
                raise PlatformError(f"{ref}: a release holds no values of Secrets; give them by the credentials of the tenant module")
            if ref.key in wanted:
                raise PlatformError(f"{ref} is there twice; remove one of the templates that made it")
            wanted[ref.key] = obj
        return wanted

    def _may_delete(self, key: str, ref: Ref, live: dict[str, Any] | None) -> bool:
        """Only what we made: the recorded uid, or an intent whose outcome a killed run could not record."""
        if live is None or (ref.kind, ref.name) in _ADOPTED:
            return False
        recorded = self.entries[key].uid
        return live["metadata"].get("uid") == recorded or (recorded is None and own_digest(live) is not None)

    def _judge(self, obj: dict[str, Any], live: dict[str, Any] | None, renamed: _renaming.Renamings, made: Set[str]) -> Change:
        ref, asked, phase = Ref.of(obj), digest(obj), phase_of(obj)
        entry = self.entries.get(ref.key)
        if live is not None:
            if ref.kind == "Job" and conditions_of(live).get("Failed", {}).get("status") == "True":
                return Change(ref, "changed", phase, obj, live, obj, recreate=True)
            same = entry is not None and entry.uid == live["metadata"].get("uid") and entry.asked == asked
            if same and entry is not None and entry.digest == own_digest(live):
                return Change(ref, "unchanged", phase, obj, live, live)
        if self.stand_in and ref.namespace == self.stand_in[0]:
            return self._judge_by_stand_in(obj, ref, phase)
        if live is None and self.absent and self.absent in (ref.namespace, ref.name if ref.kind == "Namespace" else ""):
            return Change(ref, "created", phase, obj, None, obj)
        try:
            answer = self.try_apply(_renaming.as_admitted(obj, renamed), dry_run=True)
        except ApiError as error:
            if live is None and error.not_found and _role_of(obj) in made:  # the role that it binds comes with this very plan
                return Change(ref, "created", phase, obj, None, obj)
            raise
        after = _renaming.as_asked(answer.json(), obj, renamed)
        if answer.status == 201:
            return Change(ref, "created", phase, obj, None, after)
        live = live or self._existing(ref)
        if bare(live) == bare(after) and own_fields(live) == own_fields(after):
            # As asked, only the record did not know it (it was lost, or the same is written in another way).
            self.remember(obj, live)
            return Change(ref, "unchanged", phase, obj, live, live)
        return Change(ref, "changed", phase, obj, live, after)

    def _existing(self, ref: Ref) -> dict[str, Any]:
        """Return an object that exists although it was not among ours; refuse it when it is not made by the cluster itself."""
        live = self.resources.get(ref) or {}
        if not self.is_ours(live) and (ref.kind, ref.name) not in _ADOPTED:
            owner = ((live.get("metadata") or {}).get("labels") or {}).get(TENANT_LABEL)
            whose = f"belongs to tenant {owner}" if owner else f"does not belong to tenant {self.tenant} (it lacks the label {TENANT_LABEL})"
            raise PlatformError(f"{ref} exists already and {whose}; remove it or choose another name")
        return live

    def _judge_by_stand_in(self, obj: dict[str, Any], ref: Ref, phase: str) -> Change:
        """Dry-run in the preflight namespace. What depends on things not there yet is taken as "would create"."""
        namespace = (self.stand_in or ("", ""))[1]
        metadata = {**obj["metadata"], "namespace": namespace}
        try:
            self.resources.apply({**obj, "metadata": metadata}, dry_run=True, force=True)
        except ApiError as error:
            if error.not_found and f'namespaces "{namespace}" not found' in error.server_message:
                raise PlatformError(f"namespace {namespace} does not exist: the platform is not installed; run deploy_platform.yml") from error
            if not (error.not_found or "not found" in error.server_message):
                raise PlatformError(error.message.replace(f"{ref.kind} {namespace}/", f"{ref.kind} {ref.namespace}/")) from error
        return Change(ref, "created", phase, obj, None, obj)

    def try_apply(self, obj: dict[str, Any], *, dry_run: bool = False, terse: bool = False) -> Response:
        """Apply one object; take over fields of an older operation of our own, and name the manager of any other's.

        Raises PlatformError for fields that another manager has set, ApiError for all else.
        """
        try:
            return self.resources.apply(obj, dry_run=dry_run, force=self.force, terse=terse)
        except ApiError as error:
            conflicts = error.field_conflicts
            if not conflicts:
                raise
            others = sorted({manager for manager, _field in conflicts if manager != MANAGER})
            if not others:
                return self.resources.apply(obj, dry_run=dry_run, force=True, terse=terse)
            fields = ", ".join(sorted({name for manager, name in conflicts if manager in others}))
            raise PlatformError(
                f"{Ref.of(obj)}: {fields} was set by field manager {', '.join(others)}; "
                "change it back there, leave it out of the template, or take it over with force_conflicts"
            ) from error

    def announce(self, plan: Plan) -> bool:
        """Note the objects that will be made, so that a killed run leaves nothing that nobody owns. The caller saves the record.

        What is made anew gets another uid than the recorded one, and would pass for somebody else's by that. Returns whether there is any.
        """
        anew = False
        for change in plan.changes:
            known = self.entries.get(change.ref.key)
            if change.desired is not None and (change.action == "created" or change.recreate) and (known is None or known.uid is not None):
                anew = anew or known is not None
                self.entries[change.ref.key] = Entry(None, digest(change.desired), None, change.ref.api_version, change.phase)
        return anew

    def execute(self, plan: Plan) -> None:
        """Apply the plan wave by wave, then delete in the opposite order. All objects of a wave are tried, then the first error raised."""
        effective = plan.effective()
        for number in sorted({wave_of(change.ref.kind) for change in effective if change.action != "deleted"}):
            wave = [change for change in effective if change.action != "deleted" and wave_of(change.ref.kind) == number]
            checked(self.resources.client.map(self._apply, sorted(wave, key=lambda change: order_in_wave(change.ref.kind))))
        for number in sorted({wave_of(change.ref.kind) for change in effective if change.action == "deleted"}, reverse=True):
            wave = [change for change in effective if change.action == "deleted" and wave_of(change.ref.kind) == number]
            checked(self.resources.client.map(self._delete, wave))

    def _apply(self, change: Change) -> None:
        desired = change.desired or {}
        if change.recreate:
            self._delete(change)
            deadline = time.monotonic() + 60
            while self.resources.get(change.ref) is not None:
                if time.monotonic() > deadline:
                    raise PlatformError(f"{change.ref}: the failed one is not gone after 60 s; look at its finalizers")
                time.sleep(0.2)
        self.before_write()
        change.after = self.try_apply(desired, terse=self.terse).json()
        self.remember(desired, change.after)

    def _delete(self, change: Change) -> None:
        uid = ((change.before or {}).get("metadata") or {}).get("uid")
        self.before_write()
        self.resources.delete(change.ref, uid=uid)
        if not change.recreate:  # else its intent stays: an apply whose answer gets lost leaves nothing that nobody owns, either
            self.entries.pop(change.ref.key, None)

    def remember(self, obj: Mapping[str, Any], live: Mapping[str, Any]) -> None:
        """Record that ``live`` is what ``obj`` asks for."""
        ref = Ref.of(obj)
        self.entries[ref.key] = Entry(live["metadata"].get("uid"), digest(obj), own_digest(live), ref.api_version, phase_of(obj))


def _role_of(obj: Mapping[str, Any]) -> str:
    """Return the key of the role that a binding binds, "" of anything else."""
    role = obj.get("roleRef")
    if not role:
        return ""
    space = obj["metadata"].get("namespace") if role["kind"] == "Role" else ""
    return Ref(str(obj["apiVersion"]), str(role["kind"]), str(space or ""), str(role["name"])).key
