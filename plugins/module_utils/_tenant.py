# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge a tenant's namespace, its isolation objects and its credentials; or remove it all."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims, _diff, _guard, _quotas
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Engine, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._client import MANAGER, MERGE, Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._journal import REMOVED
from ansible_collections.barberpro.platform.plugins.module_utils._readers import refuse_readers
from ansible_collections.barberpro.platform.plugins.module_utils._remove import remove_tenant, wait_gone
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, TENANT_LABEL, Ref, Resources, phase_of
from ansible_collections.barberpro.platform.plugins.module_utils._store import Record, Store, numbered
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction
from ansible_collections.barberpro.platform.plugins.module_utils._wait import wait_ready

GENERATED_BYTES = 32
# The option of the modules that make a tenant's Secrets.
CREDENTIALS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    # The values under "data" are no secrets; those that are have an option of their own that is never logged.
    "no_log": False,
    "options": {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "default": "Opaque"},
        "data": {"type": "dict", "default": {}, "no_log": False},
        "secret_data": {"type": "dict", "default": {}, "no_log": True},
        "initial": {"type": "dict", "default": {}, "no_log": False},
        "generate": {"type": "list", "elements": "str", "default": []},
    },
}


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring a tenant to the asked state and return the module's result. Raises PlatformError."""
    tenant = str(options["name"])
    resources = Resources(client)
    transaction = Transaction(resources, tenant, options.get("run"), check_mode)
    store = Store(resources, tenant, transaction.touch)
    record = store.load()
    engine = Engine(resources, tenant, record.objects, force=bool(options.get("force_conflicts")), before_write=transaction.touch)
    deadline = time.monotonic() + float(options["wait_timeout"])
    if options["state"] == "absent":
        with transaction.step(REMOVED):
            return _absent(store, record, engine, transaction, str(options.get("confirm") or ""), deadline, check_mode)
    with transaction.step("infrastructure"):
        return _present(store, record, engine, options, deadline, check_mode)


def _result(namespace: str, changes: list[Change], *, created: bool, wrote: bool = False) -> dict[str, Any]:
    effective = [change for change in changes if change.action != "unchanged"]
    return {
        "changed": bool(effective) or wrote,
        "namespace": namespace,
        "created": created,
        "objects": [{"object": str(change.ref), "action": change.action} for change in changes],
        "diff": _diff.entries((str(change.ref), change.before, change.after) for change in effective),
    }


def _present(store: Store, record: Record, engine: Engine, options: Mapping[str, Any], deadline: float, check_mode: bool) -> dict[str, Any]:
    resources, tenant = engine.resources, engine.tenant
    # Infrastructure outlives revisions; where a template names one nevertheless, it is the one in service.
    asked = numbered(list(options.get("objects") or []), record.pending or record.current or 1)
    objects = [obj for obj in asked if phase_of(obj) == "infrastructure"]
    namespace = _namespace_of(objects, tenant)
    live = resources.get(namespace)
    if live is not None and live["metadata"].get("deletionTimestamp") and not check_mode:
        wait_gone(resources, namespace, deadline)
        live = None
    created = live is None
    # Before anything is changed.
    credentials_there(resources, namespace.name, options, absent=created)
    # Before anything that bears the host is written. What an earlier run claimed stays until this one has ended well.
    host = _claims.host_of(objects)
    claims = [_claims.take(resources, tenant, host, dry_run=check_mode, before_write=store.before_write)] if host else []
    engine.absent = namespace.name if created else None
    plan = engine.plan(objects)
    guarded = partial(_guarded, resources, options, namespace.name, host, deadline)
    if not check_mode and plan.effective():
        store.before_write()
        engine.announce(plan)
        store.save(record)
        try:
            _execute(engine, plan, deadline, guarded)
        finally:
            store.save(record)
    elif not check_mode:
        store.save(record)
        guarded()
    credentials = complete_credentials(store, namespace.name, options, absent=created, dry_run=check_mode)
    if not check_mode:
        waited = [Ref.of(obj) for obj in objects if obj["kind"] in ("Namespace", "ResourceQuota")]
        wait_ready(resources.client, waited, max(1.0, deadline - time.monotonic()))
    return _result(namespace.name, [*claims, *plan.changes, *credentials], created=created)


def _execute(engine: Engine, plan: Plan, deadline: float, guarded: Callable[[], None]) -> None:
    """Apply the plan; nobody is bound to a role, and nothing that a quota counts is made, before the quotas bind and the guard rails hold."""
    first = plan.select(_quotas.early)
    engine.execute(first)
    _quotas.await_live(engine.resources, _quotas.kept(first), deadline, _quotas.COUNTED)
    guarded()
    engine.execute(plan.select(lambda change: not _quotas.early(change)))


def _guarded(resources: Resources, options: Mapping[str, Any], namespace: str, host: str, deadline: float) -> None:
    if options.get("guarded"):
        _guard.await_refusal(resources, namespace, host, deadline)


def _namespace_of(objects: list[dict[str, Any]], tenant: str) -> Ref:
    found = [Ref.of(obj) for obj in objects if obj.get("kind") == "Namespace"]
    if len(found) > 1:
        raise PlatformError(f"tenant {tenant}: objects hold {len(found)} Namespaces ({', '.join(ref.name for ref in found)}); give one")
    return found[0] if found else Ref("v1", "Namespace", "", f"tenant-{tenant}")


def complete_credentials(store: Store, namespace: str, options: Mapping[str, Any], *, absent: bool, dry_run: bool) -> list[Change]:
    """Create or complete the Secrets of the option ``credentials``; ``absent`` says that the namespace did not exist before this run.

    Raises PlatformError.
    """
    asked = list(options.get("credentials") or [])
    there = credentials_there(store.resources, namespace, options, absent=absent)
    return checked(
        store.resources.client.map(lambda pair: _credential(store, namespace, *pair, absent=absent, dry_run=dry_run), list(zip(asked, there, strict=True)))
    )


def credentials_there(resources: Resources, namespace: str, options: Mapping[str, Any], *, absent: bool) -> list[dict[str, Any] | None]:
    """Return what there is of the Secrets of the option ``credentials``. Raises PlatformError when what is not the platform's would read a new one.

    The API server keeps people of the tenant from naming them once the Namespace does, which is not yet so before the first change.
    """
    names = [str(item["name"]) for item in options.get("credentials") or []]
    if absent:
        return [None] * len(names)
    there: list[dict[str, Any] | None] = checked(resources.client.map(lambda name: resources.get(Ref("v1", "Secret", namespace, name)), names))
    refuse_readers(resources, namespace, [name for name, live in zip(names, there, strict=True) if live is None])
    return there


def _credential(store: Store, namespace: str, asked: Mapping[str, Any], live: dict[str, Any] | None, *, absent: bool, dry_run: bool) -> Change:
    """Create or complete one Secret. Values once generated are kept; keys that nobody asks for are left alone."""
    resources, tenant = store.resources, store.tenant
    ref = Ref("v1", "Secret", namespace, str(asked["name"]))
    labels = ((live or {}).get("metadata") or {}).get("labels") or {}
    if live is not None and labels.get(TENANT_LABEL) != tenant:
        raise PlatformError(f"{ref} exists already and does not belong to tenant {tenant}; remove it or choose another name")
    present: dict[str, str] = (live or {}).get("data") or {}
    given = {**(asked.get("data") or {}), **(asked.get("secret_data") or {})}
    wanted = {key: base64.b64encode(str(value).encode()).decode() for key, value in given.items()}
    changed = {key: value for key, value in wanted.items() if present.get(key) != value}
    for key, value in (asked.get("initial") or {}).items():
        if key not in present:
            changed[key] = base64.b64encode(str(value).encode()).decode()
    for key in asked.get("generate") or []:
        if key not in present and key not in wanted:
            changed[key] = base64.b64encode(secrets.token_urlsafe(GENERATED_BYTES).encode()).decode()
    if live is not None and not changed:
        return Change(ref, "unchanged", "infrastructure", before=live, after=live)
    own = {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: tenant}
    after = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": ref.name, "namespace": namespace, "labels": {**labels, **own}},
        "type": str(asked.get("type") or "Opaque"),
        "data": {**present, **changed},
    }
    if not dry_run:
        store.before_write()
    if live is None:
        if not (absent and dry_run):
            resources.create(after, dry_run=dry_run)
        return Change(ref, "created", "infrastructure", after=after)
    query = {"fieldManager": MANAGER, "dryRun": "All" if dry_run else None}
    # The uid keeps us from completing a Secret that somebody has made anew in the meantime.
    body = {"metadata": {"uid": live["metadata"]["uid"]}, "data": changed}
    path = resources.path("v1", "Secret", namespace, ref.name, query=query)
    resources.client.request("PATCH", path, body=body, content_type=MERGE, target=str(ref), verb="patch", repeatable=True)
    return Change(ref, "changed", "infrastructure", before=live, after=after)


def _absent(store: Store, record: Record, engine: Engine, transaction: Transaction, confirm: str, deadline: float, check_mode: bool) -> dict[str, Any]:
    tenant = engine.tenant
    if confirm != tenant:
        raise PlatformError(f"tenant {tenant}: removing it deletes its namespace and its history for good; repeat the name in confirm (given: {confirm!r})")
    transaction.lease.check()
    names = [key.partition(" ")[2] for key in record.objects if key.startswith("Namespace ")]
    namespace = names[0] if names else f"tenant-{tenant}"
    changes = remove_tenant(engine.resources, engine, namespace, deadline=deadline, dry_run=check_mode)
    kept = store.kept()
    known = record.stored is not None
    if not check_mode:
        for number in kept:
            store.drop(number)
        store.forget()
        # A run needs them until it ends.
        if not transaction.active:
            transaction.forget()
    return _result(namespace, changes, created=False, wrote=bool(kept) or known)
