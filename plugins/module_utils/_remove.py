# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a tenant from the cluster: what it has outside of its namespace, then the namespace with all in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Engine
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, TENANT_LABEL, Ref, Resources

HOLD = f"{PREFIX}/legal-hold"
"""The annotation of a tenant's namespace that says why nothing of the tenant may be removed."""
_HOLD_ENDED = f"When it has ended, remove the annotation {HOLD}, then run this again"


def remove_tenant(resources: Resources, engine: Engine, namespace: str, *, deadline: float, dry_run: bool) -> list[Change]:
    """Delete the recorded objects outside the namespace and the namespace itself, wait until it is gone, and release its hosts.

    ``deadline`` is on the monotonic clock. Returns the changes. Raises PlatformError when the namespace is not the tenant's, is under a legal
    hold by the moment in which it would go, or does not go.
    """
    ref = Ref("v1", "Namespace", "", namespace)
    live = resources.get(ref)
    if live is not None and not engine.is_ours(live):
        raise PlatformError(f"{ref} does not belong to tenant {engine.tenant} (it lacks the label {TENANT_LABEL}={engine.tenant}); nothing was removed")
    if why := hold_of(live):
        raise PlatformError(f"{ref} is under a legal hold ({why}): nothing was removed. {_HOLD_ENDED}")
    outside = [key for key in engine.entries if f" {namespace}/" not in key and key != ref.key]
    plan = engine.plan([], remove=outside)
    if not dry_run:
        engine.execute(plan)
    if live is not None:
        if not dry_run:
            _delete_namespace(engine, ref, live["metadata"]["uid"])
            wait_gone(resources, ref, deadline, heed_hold=True)
        plan.changes.append(Change(ref, "deleted", "infrastructure", before=live))
    # Last, when no route bears it any more: from then on another tenant may take the host.
    return [*plan.effective(), *_claims.release(resources, engine.tenant, dry_run=dry_run, before_write=engine.before_write)]


def hold_of(namespace: Mapping[str, Any] | None) -> str:
    """Return why a namespace must be kept, "" when nothing says so. Pure."""
    return str((((namespace or {}).get("metadata") or {}).get("annotations") or {}).get(HOLD) or "")


def _delete_namespace(engine: Engine, ref: Ref, uid: str) -> None:
    """Delete a namespace as it was when nothing held it. Raises PlatformError when something does by now."""
    while (live := engine.resources.get(ref)) is not None and live["metadata"]["uid"] == uid:
        if why := hold_of(live):
            raise PlatformError(f"{ref} has been put under a legal hold ({why}) and stays. {_HOLD_ENDED}")
        engine.before_write()
        try:
            engine.resources.delete(ref, uid=uid, version=live["metadata"]["resourceVersion"])
        except ApiError as error:
            if error.status != 409:
                raise
            continue  # somebody has written it: look again
        return


def wait_gone(resources: Resources, ref: Ref, deadline: float, *, heed_hold: bool = False) -> None:
    """Return when an object is gone. Raises PlatformError with what it still waits for, at the deadline (monotonic clock).

    With ``heed_hold`` also when a legal hold comes meanwhile: what is in the namespace goes, but what comes after it need not.
    """
    pause = 0.1
    while (live := resources.get(ref)) is not None:
        if heed_hold and (why := hold_of(live)):
            raise PlatformError(
                f"{ref} has been put under a legal hold ({why}) while it was being deleted: what was in it goes, all else of the tenant is as it was. "
                "The annotation goes too: set legal_hold in the inventory"
            )
        if time.monotonic() > deadline:
            waiting = [
                str(condition.get("message"))
                for condition in (live.get("status") or {}).get("conditions") or []
                if condition.get("status") == "True" and str(condition.get("type")).startswith("Namespace")
            ]
            raise PlatformError(f"{ref} is still being deleted: {'; '.join(waiting) or 'it does not say why'}; look at its finalizers")
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
