# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a deploy does to the objects of one tenant, in one go: what fleets are made of.

The steps are those of the modules ``tenant`` and ``release``. What differs is that the whole set is planned at once, its intents are
recorded once before the first write and their outcome once after the last; the revision that served before is deleted only when the
record names the new one.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims, _guard, _quotas
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._remove import wait_gone
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run, conclude, in_phase
from ansible_collections.barberpro.platform.plugins.module_utils._tenant import complete_credentials, credentials_there
from ansible_collections.barberpro.platform.plugins.module_utils._undo import rest, route

_AWAITED = ("Namespace", "ResourceQuota")


def delivered(run: Run) -> None:
    """Bring a tenant to the given set. A tenant that is as asked is only looked at. Raises PlatformError, NotReady among them."""
    objects = run.asked()
    number = int(run.number or 0)
    _await_namespace(run)
    plan = run.engine.plan(run.settled(objects, number), remove=run.leftovers(objects))
    host = _claims.host_of(objects)
    finished = number == run.record.current == run.record.finished and run.record.pending is None
    earlier = _claims.held(run.resources, run.tenant)
    if run.dry or (finished and not plan.effective()):
        run.note(Plan([*plan.changes, *_claimed(run, host), *_credentials(run)]))
        _release_earlier(run, earlier, host)
        run.wrote = not finished
        return
    # Before anything is changed.
    credentials_there(run.resources, run.namespace, run.options, absent=run.new_tenant)
    run.outcomes_late = True
    run.note(Plan(_claimed(run, host)))
    run.begin(number, plan)
    _infrastructure(run, objects, plan, host)
    workloads = plan.select(lambda change: change.action != "deleted" and change.phase == "workloads")
    if workloads.effective() or not finished:
        run.bring_up(in_phase(run.settled(objects, number), "workloads"), workloads)
    route(run, objects, plan)
    if run.record.current not in (None, number):
        run.record.current, run.record.pending = number, None
        run.save()
    rest(run, plan)
    _release_earlier(run, earlier, host)
    run.forget(run.leftovers(objects))
    conclude(run, number)


def _await_namespace(run: Run) -> None:
    """Wait for the end of a namespace that is going; nothing in one that does not exist has to be tried before it is made."""
    ref = Ref("v1", "Namespace", "", run.namespace)
    live = None if run.new_tenant else run.resources.get(ref)
    if live is not None and live["metadata"].get("deletionTimestamp") and not run.dry:
        wait_gone(run.resources, ref, run.deadline)
        run.new_tenant = True
    if run.new_tenant and not run.dry:
        run.engine.absent = run.namespace


def _claimed(run: Run, host: str) -> list[Change]:
    if not host:
        return []
    return [_claims.take(run.resources, run.tenant, host, dry_run=run.dry, before_write=run.store.before_write)]


def _release_earlier(run: Run, earlier: list[str], host: str) -> None:
    if set(earlier) - {host}:
        run.release_hosts(host)


def _credentials(run: Run) -> list[Change]:
    return complete_credentials(run.store, run.namespace, run.options, absent=run.new_tenant, dry_run=run.dry)


def _infrastructure(run: Run, objects: list[dict[str, Any]], plan: Plan, host: str) -> None:
    """Namespace, limits, rights and policies, in force before anything runs under them; then the credentials."""
    changes = plan.select(lambda change: change.action != "deleted" and change.phase == "infrastructure")
    first = changes.select(_quotas.early)
    run.execute(first)
    quotas = _quotas.kept(first) if changes.effective() else []
    # The watch of the whole fleet says when it is worth asking.
    run.wait(obj for obj in objects if Ref.of(obj) in quotas)
    _quotas.await_live(run.resources, quotas, run.deadline, _quotas.IN_NEW if run.new_tenant else _quotas.COUNTED)
    if changes.effective() and run.options.get("guarded"):
        _guard.await_refusal(run.resources, run.namespace, host, run.deadline)
    run.execute(changes.select(lambda change: not _quotas.early(change)))
    run.note(Plan(_credentials(run)))
    if changes.effective():
        run.wait(obj for obj in objects if obj["kind"] in _AWAITED)
