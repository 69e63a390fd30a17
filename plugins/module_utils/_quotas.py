# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a quota binds, and see when it did not: a quota whose status does not say its limits yet is not enforced, and one that has counted
too little lets too much in."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _quantity
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._waves import wave_of

# Kinds whose number is compared with what the quota has counted.
COUNTED = {"configmaps": "ConfigMap", "persistentvolumeclaims": "PersistentVolumeClaim", "pods": "Pod", "secrets": "Secret", "services": "Service"}
# Of these, what controllers put into every namespace as it comes. In one that is new, and in which nobody has a right yet, there is nothing else.
IN_NEW = {key: COUNTED[key] for key in ("configmaps", "secrets")}
# Who has lost the API server time and again within two minutes looks again only after 30 to 60 s (client-go's reflector), and may then find it still
# warming up. Twice that, and what a count takes.
LIMIT_SECONDS = 150.0
# How long a quota that has counted too little is looked at before it is counted anew, and before it is again.
MISCOUNT_SECONDS, RECOUNT_SECONDS = 0.2, 3.0
RECOUNT = "quota-recount"


def exceeded(quota: Mapping[str, Any]) -> str:
    """Return which limits of a ResourceQuota its live use is beyond, as a sentence with the numbers; "" when none.

    The use is what the controller has counted: at each deletion of something that is counted, and every five minutes.
    """
    hard, used = (quota.get("spec") or {}).get("hard") or {}, (quota.get("status") or {}).get("used") or {}
    over = [key for key in sorted(hard) if _quantity.number(used.get(key)) > _quantity.number(hard[key])]
    said = "; ".join(f"{key}: {used[key]} in use, and {hard[key]} are allowed" for key in over)
    return f"{Ref.of(quota)}: {said}" if over else ""


def early(change: Change) -> bool:
    """Return whether a change belongs before the quotas bind: namespaces and the quotas themselves."""
    return change.action != "deleted" and wave_of(change.ref.kind) <= wave_of("ResourceQuota")


def tightens(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a ResourceQuota or LimitRange allows less of something in ``after`` than in ``before``. What bounds nothing allows all."""
    then, now = _bounds(before), _bounds(after)
    return any(key not in then or number < then[key] for key, number in now.items())


def _bounds(obj: Mapping[str, Any]) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    found = dict(spec.get("hard") or {})
    for item in spec.get("limits") or []:
        found.update({f"{item.get('type')} {key}": value for key, value in (item.get("max") or {}).items()})
    return {key: _quantity.number(value) for key, value in found.items()}


def kept(plan: Plan) -> list[Ref]:
    """Return the quotas that are there once a plan has been carried out; one that a killed run has made may not bind yet."""
    return [change.ref for change in plan.changes if change.ref.kind == "ResourceQuota" and change.action != "deleted"]


def await_live(resources: Resources, refs: Iterable[Ref], deadline: float, counted: Mapping[str, str]) -> None:
    """Return when each quota's ``status.hard`` equals its spec and ``status.used`` counts at least what is there of the kinds in ``counted``.

    ``deadline`` is on the monotonic clock; at most LIMIT_SECONDS are waited. Raises PlatformError with the key that is behind and its numbers.
    """
    started = time.monotonic()
    limit = min(deadline, started + LIMIT_SECONDS)
    for ref in refs:
        pause, asked, patience = 0.05, time.monotonic(), MISCOUNT_SECONDS
        while behind := (unsaid := _unsaid(live := resources.get(ref) or {})) or _uncounted(resources, live, ref.namespace, counted):
            now = time.monotonic()
            if now + pause > limit:
                raise PlatformError(
                    f"{ref} does not bind after {now - started:.0f} s: {behind}; see whether kube-controller-manager runs with its resource quota "
                    "controller, and deploy again"
                )
            if now - asked > (RECOUNT_SECONDS if unsaid else patience):
                _ask_to_count(resources, ref.namespace)
                asked, patience = now, RECOUNT_SECONDS
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)


def _unsaid(live: Mapping[str, Any]) -> str:
    """Return which limit a quota's status does not tell yet, "" when it tells all; its controller is about to."""
    wanted, status = (live.get("spec") or {}).get("hard") or {}, live.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for key in sorted(wanted):
        if hard.get(key) != wanted[key]:
            return f"status.hard says {key} {hard.get(key, 'nothing')}, spec.hard {wanted[key]}"
        if key not in used:
            return f"status.used says nothing of {key}"
    return ""


def _uncounted(resources: Resources, live: Mapping[str, Any], namespace: str, counted: Mapping[str, str]) -> str:
    """Return of what a quota has counted too little, "" of nothing.

    What came between its controller's count and the API server's knowledge of the quota is not made good by waiting: the next count is minutes off.
    """
    used = (live.get("status") or {}).get("used") or {}
    for key in sorted(counted.keys() & used.keys()):
        # Of all kinds but pods, being there is all that counts.
        there = sum(1 for obj in resources.list("v1", counted[key], namespace, terse=key != "pods") if _counts(obj))
        if _quantity.number(used[key]) < there:
            return f"status.used counts {used[key]} {key}, and {there} are there"
    return ""


def _counts(obj: Mapping[str, Any]) -> bool:
    """Return whether a quota counts the object: pods that have ended, or are about to, are free."""
    return (obj.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and not obj["metadata"].get("deletionTimestamp")


def _ask_to_count(resources: Resources, namespace: str) -> None:
    """Let the controller count the namespace anew, which it does when something that it counts goes."""
    ref = Ref("v1", "ConfigMap", namespace, RECOUNT)
    if resources.get(ref) is None:
        # Should this run be killed before it deletes it, the cluster does: it has an owner that is not there.
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": f"{RECOUNT}-asked", "uid": str(uuid.uuid4())}
        resources.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": RECOUNT, "namespace": namespace, "ownerReferences": [owner]}})
    resources.delete(ref)
