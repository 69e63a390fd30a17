# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's run in the cluster: the record that outlives the runner, and what customers met since each tenant's promotion."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients
from ansible_collections.barberpro.platform.plugins.module_utils._checks_prometheus import ask
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref, Resources

LABEL = f"{PREFIX}/fleet"
NAMESPACE = "barberpro-system"
KEPT = 10
REQUESTS = "barberpro_http_request_duration_seconds_count"


def new_name(now: datetime.datetime) -> str:
    """Return the name of a fleet's run that begins now, in UTC."""
    return now.strftime("%Y%m%dt%H%M%Sz")


def ref_of(fleet: str) -> Ref:
    """Return the reference of a run's record."""
    return Ref("v1", "ConfigMap", NAMESPACE, f"fleet-{fleet}")


def load(resources: Resources, fleet: str) -> dict[str, Any]:
    """Return the record of a run. Raises PlatformError when there is none, naming those that there are."""
    found = resources.get(ref_of(fleet))
    if found is None:
        kept = [item["metadata"]["name"].removeprefix("fleet-") for item in resources.list("v1", "ConfigMap", NAMESPACE, labels=LABEL)]
        known = f"there are {', '.join(sorted(kept))}" if kept else "there is none"
        raise PlatformError(f"fleet_resume names fleet {fleet!r}, and barberpro-system has no record of it; {known}")
    document: dict[str, Any] = json.loads(found["data"]["fleet.json"])
    return document


def save(resources: Resources, document: Mapping[str, Any]) -> None:
    """Write the record, and remove the oldest beyond ten."""
    ref = ref_of(document["fleet"])
    labels = {"app.kubernetes.io/managed-by": PREFIX, LABEL: "true"}
    metadata = {"name": ref.name, "namespace": ref.namespace, "labels": labels}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    resources.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"fleet.json": text}}, force=True)
    names = sorted(item["metadata"]["name"] for item in resources.list("v1", "ConfigMap", NAMESPACE, labels=LABEL))
    for name in names[:-KEPT]:
        resources.delete(Ref("v1", "ConfigMap", NAMESPACE, name))


def done_before(document: Mapping[str, Any], release: str) -> list[str]:
    """Return the tenants that a recorded run brought to this release. Raises PlatformError when it deployed another one."""
    if document["release"] != release:
        raise PlatformError(
            f"fleet {document['fleet']} deployed other images or settings ({document['release']}, now {release}), so its tenants are not done; "
            "run without fleet_resume"
        )
    return sorted(tenant["name"] for tenant in document["tenants"] if tenant["result"] in ("succeeded", "unchanged"))


def live(clients: Clients, params: Mapping[str, Any], seconds: float) -> tuple[dict[tuple[str, str], tuple[float, float]], str]:
    """Return requests and server errors of the last ``seconds`` by (namespace, revision), and "" or why they are not known."""
    window = f"[{max(60, round(seconds))}s]"
    every = f'{REQUESTS}{{namespace=~"tenant-.+",revision!=""'
    found: dict[tuple[str, str], list[float]] = {}
    try:
        for place, matcher in ((0, ""), (1, ',status=~"5.."')):
            query = f"sum by (namespace, revision) (increase({every}{matcher}}}{window}))"
            for series in ask(params, clients, "/api/v1/query", {"query": query}).get("result") or []:
                key = (series["metric"].get("namespace", ""), series["metric"].get("revision", ""))
                found.setdefault(key, [0.0, 0.0])[place] = float(series["value"][1])
    except CheckFailed as error:
        return {}, f"what customers met is not known: {error.reason}"
    return {key: (requests, errors) for key, (requests, errors) in found.items()}, ""
