# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a workload is complete, with the reason when it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    plural,
    subject,
)
from ansible_collections.barberpro.platform.plugins.module_utils._checks_objects import restart_count
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, READY, Readiness
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess, own_pods
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref

API_VERSIONS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"}


@check(
    "rollout",
    subject("{kind} {namespace}/{name}"),
    namespace=Param("Namespace.", required=True),
    name=Param("Name of the workload.", required=True),
    kind=Param("Kind of the workload.", default="Deployment", choices=tuple(API_VERSIONS)),
)
def rollout(params: Mapping[str, Any], clients: Clients) -> str:
    """The workload is complete. An image that cannot be pulled, a crash loop and a spent quota fail at once."""
    resources, namespace = clients.resources, params["namespace"]
    ref = Ref(API_VERSIONS[params["kind"]], params["kind"], namespace, params["name"])
    live = resources.get(ref)
    if live is None:
        raise CheckFailed(f"{ref} does not exist", "deploy again, and look at the release's objects")
    related = Related(
        pods=resources.list("v1", "Pod", namespace),
        replica_sets=resources.list("apps/v1", "ReplicaSet", namespace) if ref.kind == "Deployment" else (),
        now=clients.client.now(),
        node_seconds=clients.client.node_timeout,
    )
    found = assess(live, related)
    if found.outcome != READY:
        # Events are asked for only now: they explain, and they are many.
        events = resources.list("v1", "Event", namespace, fields="type=Warning")
        found = assess(live, replace(related, events=events))
        raise CheckFailed(f"{ref}: {found.reason}", _advice(found, ref), final=found.outcome == FAILED)
    if ref.kind == "Job":
        return f"{ref.name} is complete"
    restarts = sum(restart_count(pod)[0] for pod in own_pods(live, related))
    return f"{_available(live)} of {ref.name} available, {plural(restarts, 'restart')}"


def _available(live: Mapping[str, Any]) -> str:
    """Return ``2/2 replicas`` of a workload."""
    status = live.get("status") or {}
    if live["kind"] == "DaemonSet":
        have, want = status.get("numberAvailable", 0), status.get("desiredNumberScheduled", 0)
    else:
        have, want = status.get("availableReplicas", 0), (live.get("spec") or {}).get("replicas", 1)
    return f"{have}/{want} replicas"


def _advice(found: Readiness, ref: Ref) -> str:
    """Return what to do about a workload that is not ready."""
    if "cannot be pulled" in found.reason:
        return "push the image or correct its reference, then deploy again"
    if "quota" in found.reason:
        return "choose a larger tier or a smaller market size, then deploy again"
    if "cannot be scheduled" in found.reason:
        return "add a node or lower the requests, then deploy again"
    if found.pod:
        return f"see kubectl -n {ref.namespace} logs {found.pod} -c {found.container} --previous, correct the cause and deploy again"
    return f"see kubectl -n {ref.namespace} describe {ref.kind.lower()} {ref.name}"
