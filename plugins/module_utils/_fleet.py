# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many tenants in one call: each goes the way of one tenant, side by side, over one pool of connections and one LIST a kind.

A tenant's failure is that tenant's result: what it has changed is undone, and the others go on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_recover
from ansible_collections.barberpro.platform.plugins.module_utils._batch import Batch, View
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._deliver import delivered
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._lease import HELD
from ansible_collections.barberpro.platform.plugins.module_utils._lookout import Lookout
from ansible_collections.barberpro.platform.plugins.module_utils._module import check_name
from ansible_collections.barberpro.platform.plugins.module_utils._render import RenderError, render
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run, in_phase
from ansible_collections.barberpro.platform.plugins.module_utils._store import content_hash, numbered
from ansible_collections.barberpro.platform.plugins.module_utils._undo import reverted, rolled_back, target_of

STATES = ("deployed", "rolled_back")
# Tenants that are read by one LIST: the name of each is in its selector, and their objects are in memory together.
BATCH = 50
# A tenant that waits for its pods sends no requests: that many are worked on for each request that may be under way.
TENANTS_PER_REQUEST = 4

_STEPS = {"deployed": ("staged", delivered), "rolled_back": ("rolled_back", rolled_back)}


@dataclass(frozen=True)
class _Fleet:
    """What the tenants of a call have in common."""

    client: Client
    options: Mapping[str, Any]
    check_mode: bool
    lookout: Lookout


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring all tenants to the asked state and return the module's result.

    Raises PlatformError when nothing was begun because the tenants are named wrongly, or, with the whole result, when one of them failed.
    """
    started = time.monotonic()
    tenants = _checked(list(options["tenants"]))
    namespaces = frozenset(item["metadata"]["name"] for item in Resources(client).list("v1", "Namespace", terse=True))
    batches = [Batch(client, [item["name"] for item in tenants[start : start + BATCH]], namespaces) for start in range(0, len(tenants), BATCH)]
    single = client.one_by_one()
    with Lookout(client) as lookout, ThreadPoolExecutor(max(1, TENANTS_PER_REQUEST * client.concurrency)) as pool:
        fleet = _Fleet(single, options, check_mode, lookout)
        done = list(pool.map(lambda place: _tenant(fleet, tenants[place], batches[place // BATCH]), range(len(tenants))))
    return _result(done, time.monotonic() - started)


def _checked(tenants: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Raise PlatformError for a name that is wrong or there twice, before anything is begun."""
    for item in tenants:
        check_name(str(item["name"]))
    twice = [name for name, count in Counter(str(item["name"]) for item in tenants).items() if count > 1]
    if twice:
        raise PlatformError(f"tenants names {', '.join(sorted(twice))} more than once; name each tenant once")
    return tenants


def _tenant(fleet: _Fleet, asked: Mapping[str, Any], batch: Batch) -> dict[str, Any]:
    """Return the result of one tenant, whatever becomes of it."""
    started = time.monotonic()
    name = str(asked["name"])
    run: Run | None = None
    taken = False
    shown: dict[str, Any] = {"name": name, "result": "failed", "changed": False}
    try:
        options = _options(fleet, asked)
        run = _run(fleet, options, View(fleet.client, name, batch))
        left = _fleet_recover.left(run)
        if left is not None:
            shown["recovered"] = left.sentence(dry=fleet.check_mode)
            options = run.options = _aimed(run, left)
        if left is not None and not fleet.check_mode:
            problem = _fleet_recover.clear_up(left, options, lambda changed: _run(fleet, changed))
            taken = left.following == "adopt" or bool(problem)
            shown |= {"changed": True, "recovered": left.sentence(problem)}
            # What was read before is not what is there now.
            run = _run(fleet, options)
            _refuse_to_guess(run, problem)
        if left is None or not left.repeated:
            _carry_out(run, str(options["state"]), taken)
        summary = _summary(run, fleet.check_mode)
        shown |= summary if left is None or fleet.check_mode else {**summary, "result": "changed", "changed": True}
    except (PlatformError, RenderError) as error:
        shown["msg"] = str(error)
        if run is not None:
            shown |= _undone(fleet, run, taken)
    return {**shown, "seconds": round(time.monotonic() - started, 3)}


def _run(fleet: _Fleet, options: Mapping[str, Any], view: View | None = None) -> Run:
    """Return a run on one tenant that says in its journal which revision served before it."""
    run = Run(fleet.client, options, fleet.check_mode, resources=view, waiter=fleet.lookout.wait)
    run.engine.terse = True
    if run.transaction.run:
        run.transaction.run["previous"] = run.record.finished
    return run


def _aimed(run: Run, left: _fleet_recover.Left) -> dict[str, Any]:
    """Return the options of ``run`` with the revision that it returns to named: the one before what serves now, which clearing up may change.

    Not where the run that was killed was itself on its way back: what serves now is then where it was going. Raises PlatformError when there is none.
    """
    if left.returning or run.options["state"] != "rolled_back":
        return dict(run.options)
    if run.options.get("to_revision") is None and _has_moved(run):
        return {**run.options, "to_revision": run.record.current}
    return {**run.options, "to_revision": target_of(run)}


def _has_moved(run: Run) -> bool:
    """Return whether a killed deploy has moved the route away from the current revision, which its record does not say yet."""
    current, pending = run.record.current, run.record.pending
    if current not in run.kept or pending not in run.kept or current not in run.record.proven:
        return False
    there, here = (run.engine.plan(in_phase(numbered(run.store.read(number), number), "promotion")).effective() for number in (current, pending))
    return bool(there) and not here


def _refuse_to_guess(run: Run, problem: str) -> None:
    """Raise PlatformError when the revision before the current one is asked for and a run that could not be undone has moved what is current."""
    if problem and run.options["state"] == "rolled_back" and run.options.get("to_revision") is None:
        raise PlatformError(f"tenant {run.tenant}: a killed run could not be undone: {problem}; name the revision to return to in to_revision")


def _options(fleet: _Fleet, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one tenant as the modules of one tenant have them, its objects rendered."""
    shared = fleet.options
    name = str(asked["name"])
    objects = list(asked.get("objects") or [])
    if shared["state"] == "deployed" and not objects:
        variables = {**(shared.get("shared_variables") or {}), **(asked.get("variables") or {})}
        given = {**(variables.get("tenant") or {}), "name": name}
        variables["tenant"] = {"namespace": asked.get("namespace") or f"tenant-{name}", **given}
        objects = render(list(shared.get("template_dirs") or []), variables, shared.get("phases"))
    identity = shared.get("run")
    if identity:
        # A return to a named revision can be gone on with; one to "the one before" cannot, since that is another one once it has begun.
        target = f"r{shared['to_revision']}" if shared["state"] == "rolled_back" and shared.get("to_revision") is not None else None
        identity = {**identity, "tenant": name, "content": content_hash(objects) if objects else target}
    return {**shared, **{key: value for key, value in asked.items() if value is not None}, "objects": objects, "run": identity}


def _carry_out(run: Run, state: str, taken: bool) -> None:
    """Take one tenant to the state as one transaction; see _transaction. ``taken`` says that a journal which an earlier run left is this run's now."""
    step, work = _STEPS[state]
    with run.transaction.step(step):
        work(run)
    if run.transaction.begun or taken:
        run.transaction.end("succeeded")


def _undone(fleet: _Fleet, failed: Run, taken: bool) -> dict[str, Any]:
    """Undo what a failed run has changed, close its journal and say so; nothing when it has changed nothing."""
    if fleet.check_mode:
        return {}
    if not (taken or _has_changed(failed)):
        # It may have the lease all the same, when the journal shows that another run was faster.
        if failed.transaction.active:
            with suppress(PlatformError):
                failed.transaction.lease.release()
        return {}
    previous = failed.finished_before
    # Whoever has taken the lease since puts the tenant right, or has done so already: with this fence only the lease that this run has still fits.
    fenced = {**failed.transaction.run, "fence": HELD} if failed.transaction.run else None
    options = {**failed.options, "state": "reverted", "previous": previous, "run": fenced, "without_record": failed.without_record}
    try:
        run = Run(fleet.client, options, False, waiter=fleet.lookout.wait)
        if run.record.finished == failed.record.finished:
            # What this run had noted as ended well before it failed is none to return to.
            run.record.proven -= {failed.record.finished} - failed.proven_before
            run.record.finished = previous
        with run.transaction.step("reverted"):
            reverted(run)
        if failed.transaction.begun or taken:
            run.transaction.end("undone")
    except PlatformError as error:
        if failed.transaction.begun or taken:
            # The journal stays open for the next run. A lease that cannot be let go ends by itself.
            with suppress(PlatformError):
                failed.transaction.end("open")
        return {"changed": True, "undone": False, "undo_msg": f"undoing it failed: {error}; run again"}
    return {"undone": True, "undo_msg": f"returned to r{previous}" if previous else "what its first deploy had made was removed"}


def _has_changed(failed: Run) -> bool:
    """Return whether a run that failed has written something: its journal says so; without one a deploy does, and a return by what it did.

    A deploy says so before its first write, which another run may have been faster than: what that one did is not to be undone.
    """
    if failed.transaction.active:
        return failed.transaction.begun
    if failed.options["state"] == "deployed":
        return failed.outcomes_late
    return failed.wrote or any(change.action != "unchanged" for change in failed.done)


def _summary(run: Run, check_mode: bool) -> dict[str, Any]:
    """Return what is told of a tenant that went well; its single changes only where they are a plan, since a fleet has many."""
    counts = Counter(change.action for change in run.done)
    effective = [change for change in run.done if change.action != "unchanged"]
    changed = bool(effective) or run.wrote
    return {
        "result": "changed" if changed else "unchanged",
        "changed": changed,
        "revision": f"r{run.number}" if run.number else "none",
        "counts": {action: counts.get(action, 0) for action in ("created", "changed", "deleted", "unchanged")},
        **({"changes": [change.shown() for change in effective]} if check_mode else {}),
        "warnings": run.warnings,
    }


def _result(done: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the module's result. Raises PlatformError with it when a tenant failed."""
    warnings = [warning for item in done for warning in item.pop("warnings", [])]
    counts = Counter(item["result"] for item in done)
    objects: Counter[str] = Counter()
    for item in done:
        objects.update(item.get("counts") or {})
    result = {
        "changed": any(item["changed"] for item in done),
        "tenants": list(done),
        "summary": {**{name: counts.get(name, 0) for name in ("changed", "unchanged", "failed")}, "seconds": round(seconds, 3)},
        "objects": {action: objects.get(action, 0) for action in ("created", "changed", "deleted", "unchanged")},
        "warnings": warnings,
    }
    failed = [item for item in done if item["result"] == "failed"]
    if not failed:
        return result
    shown = "; ".join(f"{item['name']}: {item['msg']}" + (f" ({item['undo_msg']})" if "undo_msg" in item else "") for item in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    raise PlatformError(f"{len(failed)} of {len(done)} tenants failed, the others are as asked: {shown}{more}", **result)
