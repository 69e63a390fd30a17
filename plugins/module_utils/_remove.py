# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove a tenant from the cluster: what it has outside of its namespace, then the namespace with all in it."""

from __future__ import annotations

import time

from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Engine
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import TENANT_LABEL, Ref, Resources


def remove_tenant(resources: Resources, engine: Engine, namespace: str, *, deadline: float, dry_run: bool) -> list[Change]:
    """Delete the recorded objects outside the namespace and the namespace itself, wait until it is gone, and release its hosts.

    ``deadline`` is on the monotonic clock. Returns the changes. Raises PlatformError when the namespace is not the tenant's, or does not go.
    """
    ref = Ref("v1", "Namespace", "", namespace)
    live = resources.get(ref)
    if live is not None and not engine.is_ours(live):
        raise PlatformError(f"{ref} does not belong to tenant {engine.tenant} (it lacks the label {TENANT_LABEL}={engine.tenant}); nothing was removed")
    outside = [key for key in engine.entries if f" {namespace}/" not in key and key != ref.key]
    plan = engine.plan([], remove=outside)
    if not dry_run:
        engine.execute(plan)
    if live is not None:
        if not dry_run:
            engine.before_write()
            resources.delete(ref, uid=live["metadata"]["uid"])
            wait_gone(resources, ref, deadline)
        plan.changes.append(Change(ref, "deleted", "infrastructure", before=live))
    # Last, when no route bears it any more: from then on another tenant may take the host.
    return [*plan.effective(), *_claims.release(resources, engine.tenant, dry_run=dry_run, before_write=engine.before_write)]


def wait_gone(resources: Resources, ref: Ref, deadline: float) -> None:
    """Return when an object is gone. Raises PlatformError with what it still waits for, at the deadline (monotonic clock)."""
    pause = 0.1
    while (live := resources.get(ref)) is not None:
        if time.monotonic() > deadline:
            waiting = [
                str(condition.get("message"))
                for condition in (live.get("status") or {}).get("conditions") or []
                if condition.get("status") == "True" and str(condition.get("type")).startswith("Namespace")
            ]
            raise PlatformError(f"{ref} is still being deleted: {'; '.join(waiting) or 'it does not say why'}; look at its finalizers")
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
