# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways back: undo an unfinished run, or return to a kept revision. In both, customers are served throughout."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims, _guard, _quotas
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._lease import Held
from ansible_collections.barberpro.platform.plugins.module_utils._remove import remove_tenant
from ansible_collections.barberpro.platform.plugins.module_utils._renaming import host_in
from ansible_collections.barberpro.platform.plugins.module_utils._run import SETTLE_SECONDS, Run, conclude, in_phase
from ansible_collections.barberpro.platform.plugins.module_utils._store import numbered, record_ref

# Limits of a smaller revision would keep the two from standing side by side: they come last. Those that give room come first.
_LIMITS = frozenset({"ResourceQuota", "LimitRange"})
# What a failed return gets to be taken back, where it has used up its own time.
_GO_BACK_SECONDS = 60.0


def reverted(run: Run) -> None:
    """Undo an unfinished run: back to ``previous``, the route first; without one, remove all that a first deploy made."""
    target = run.options.get("previous")
    failed = [number for number in (run.record.pending, run.record.current) if number is not None and number != target]
    # What an operator changed by hand must not keep us from the state that is known to work.
    run.engine.force = True
    if target is None:
        _remove_first_deploy(run)
        return
    run.number = int(target)
    objects, leftovers = _stored(run, int(target))
    plan = run.engine.plan(objects, remove=leftovers)
    host = _claims.host_of(objects)
    # A return that failed in a gate behind it has given it back.
    run.take_host(host)
    _switch(run, objects, plan)
    if host:
        run.release_hosts(host)
    run.forget(leftovers)
    if not run.dry:
        # The undone set is no revision to return to, unless it was one before this run (a return to it failed). It goes first: what is still
        # kept when the record says that all is well could be returned to.
        run.drop_revisions(number for number in failed if number not in run.record.proven)
        # Whatever the undone run had finished (a return that failed in a gate behind it), this is what the next one would return to.
        run.record.current, run.record.pending, run.record.finished = int(target), None, int(target)
        run.save()


def _remove_first_deploy(run: Run) -> None:
    if run.record.finished is not None:
        raise PlatformError(
            f"tenant {run.tenant}: revision r{run.record.finished} has been finished before, so this was no first deploy; "
            f"call state reverted with previous: {run.record.finished}"
        )
    if _was_there(run):
        raise PlatformError(
            f"tenant {run.tenant}: namespace {run.namespace} was there before this deploy, and {record_ref(run.tenant)}, which would say what served in it, "
            "was not: nothing is removed, and what this run has changed stays beside it until a deploy succeeds"
        )
    run.number = None
    if not run.record.objects and not run.kept and run.record.pending is None:
        run.release_hosts("")
        return
    changes = remove_tenant(run.resources, run.engine, run.namespace, deadline=run.deadline, dry_run=run.dry)
    run.note(Plan(changes))
    run.removed_tenant = True
    if not run.dry:
        run.record.current = run.record.pending = None
        run.record.objects.clear()
        run.drop_revisions(list(run.kept))
        run.save()


def _was_there(run: Run) -> bool:
    """Return whether the run that is undone found the tenant there without a record; its journal says so, or the caller where it keeps none."""
    journal = run.transaction.journal.load() if run.transaction.run else None
    if journal is None or journal["closed"]:
        return bool(run.options.get("without_record"))
    return bool(journal.get("unrecorded"))


def rolled_back(run: Run) -> None:
    """Return to a kept revision: workloads up, route, then the rest and the clearing up. What fails on the way is taken back."""
    target, serving, finished = target_of(run), run.record.current, run.record.finished
    objects, leftovers = _stored(run, target)
    run.number = target
    plan = run.engine.plan(objects, remove=leftovers)
    host = _claims.host_of(objects)
    run.take_host(host)
    try:
        _up_and_switch(run, objects, plan)
        if not run.dry:
            run.record.current = target
            run.save()
        rest(run, plan)
        if host:
            run.release_hosts(host)
        run.forget(leftovers)
        conclude(run, target)
    except Held:
        raise  # whoever has the tenant now puts it right
    except PlatformError as failure:
        if run.dry or serving is None:
            raise
        run.record.finished = finished
        _go_back(run, serving, failure)
        raise


def _go_back(run: Run, serving: int, failure: PlatformError) -> None:
    """Take back what a return that failed has done, the route first: what served before stands until the end of a run.

    Raises PlatformError that says both when that fails too; the record and the journal tell the next run what is left.
    """
    run.deadline = max(run.deadline, time.monotonic() + _GO_BACK_SECONDS)
    run.engine.force = True
    try:
        objects, leftovers = _stored(run, serving)
        host = _claims.host_of(objects)
        run.take_host(host)
        _switch(run, objects, run.engine.plan(objects, remove=leftovers))
        run.forget(leftovers)
        if host:
            run.release_hosts(host)
        run.record.current = serving
        run.save()
    except PlatformError as error:
        raise PlatformError(f"{failure}; what this run had changed could not be taken back: {error}", **failure.details) from failure


def target_of(run: Run) -> int:
    """Return the revision that a return goes to: the one named, or the newest before the current one that ended well. Raises PlatformError."""
    if run.record.current is None:
        raise PlatformError(f"tenant {run.tenant} has no current revision, so there is none to return to; deploy it first")
    if run.options.get("to_revision") is not None:
        return int(run.options["to_revision"])
    older = [number for number in run.kept if number < run.record.current and number in run.record.proven]
    if not older:
        raise PlatformError(f"tenant {run.tenant}: no revision before r{run.record.current} is kept, so there is none to return to")
    return max(older)


def _stored(run: Run, number: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a kept set without its Jobs (a migration is never run on the way back) and the recorded keys that it does not hold.

    What exists of its Jobs is part of the revision and stays.
    """
    objects = numbered(run.store.read(number), number)
    return [obj for obj in objects if obj.get("kind") != "Job"], run.leftovers(objects)


def _switch(run: Run, objects: list[dict[str, Any]], plan: Plan) -> None:
    """Return to a set whose workloads still stand: the route first. Where they do not, they come first.

    Nothing comes before the Namespace where that names another host: the admission policies admit a route for no other than it names.
    """
    standing = all(change.action == "unchanged" for change in plan.changes if change.phase == "workloads" and change.action != "deleted")
    if not standing:
        _up_and_switch(run, objects, plan)
    else:
        run.execute(_renamed(plan))
        _await_host(run, plan)
        route(run, objects, plan)
    rest(run, plan)
    run.wait(in_phase(objects, "workloads"))


def _up_and_switch(run: Run, objects: list[dict[str, Any]], plan: Plan) -> None:
    """Bring the workloads up with what they stand on, then move the route."""
    first = plan.select(lambda change: change.action != "deleted" and change.phase == "infrastructure" and not _takes_room(change))
    run.execute(first)
    _await_host(run, plan)
    if not run.dry:
        _quotas.await_live(run.resources, _quotas.kept(first), run.deadline, {})
    workloads = in_phase(objects, "workloads")
    run.bring_up(workloads, plan.select(lambda change: change.action != "deleted" and change.phase == "workloads"))
    route(run, objects, plan)


def _renamed(plan: Plan) -> Plan:
    """Return the Namespace, if the set has another host than is in force."""
    return plan.select(
        lambda change: change.ref.kind == "Namespace" and change.action == "changed" and host_in(change.before) != host_in(change.desired)
    )


def _await_host(run: Run, plan: Plan) -> None:
    """Wait until routes of the set's host are admitted, if it is another than was in force."""
    for change in [] if run.dry else _renamed(plan).changes:
        _guard.await_host(run.resources, run.namespace, host_in(change.desired), run.deadline)


def route(run: Run, objects: list[dict[str, Any]], plan: Plan) -> None:
    """Move the route, and give what served before the time to answer what it has begun."""
    moved = plan.select(lambda change: change.action != "deleted" and change.phase == "promotion")
    run.execute(moved)
    run.wait(in_phase(objects, "promotion"))
    if moved.effective() and not run.dry and run.record.current is not None:
        time.sleep(SETTLE_SECONDS)


def rest(run: Run, plan: Plan) -> None:
    """What is left: limits, monitoring, and the end of what the set does not hold."""
    done = {(change.ref, change.action) for change in run.done}
    run.execute(plan.select(lambda change: (change.ref, change.action) not in done))


def _takes_room(change: Change) -> bool:
    return change.ref.kind in _LIMITS and change.action != "unchanged" and _quotas.tightens(change.before or {}, change.desired or {})
