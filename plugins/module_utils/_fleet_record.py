# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's run in the cluster: the record that outlives the runner, and what customers met since each tenant's promotion."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients
from ansible_collections.barberpro.platform.plugins.module_utils._checks_prometheus import ask
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import BAD, Rule, Tenant
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref, Resources

LABEL = f"{PREFIX}/fleet"
NAMESPACE = "barberpro-system"
KEPT = 10
MOST_AT_ONCE = 100
LONGEST = datetime.timedelta(days=1)
# Two answers of the services to Prometheus, which asks every 30 s: of less time nothing is known.
SHORTEST = 60
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


def create(resources: Resources, document: Mapping[str, Any]) -> str:
    """Open the record and return the fleet's name, numbered when several began in the same second (slices of a job of AWX do).

    The oldest records beyond ten go, except of fleets that may be at work.
    """
    number = 1
    while True:
        fleet = document["fleet"] if number == 1 else f"{document['fleet']}-{number}"
        try:
            resources.create(_config_map({**document, "fleet": fleet}))
        except ApiError as error:
            if error.status != 409 or number == MOST_AT_ONCE:
                raise
            number += 1
        else:
            _forget_old(resources)
            return str(fleet)


def _config_map(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ConfigMap that holds a record."""
    ref = ref_of(document["fleet"])
    metadata = {"name": ref.name, "namespace": ref.namespace, "labels": {"app.kubernetes.io/managed-by": PREFIX, LABEL: "true"}}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"fleet.json": text}}


def save(resources: Resources, document: Mapping[str, Any]) -> None:
    """Write the record, and remove the oldest beyond ten."""
    resources.apply(_config_map(document), force=True)
    _forget_old(resources)


def _forget_old(resources: Resources) -> None:
    """Remove the oldest records beyond ten, but of no fleet that may be at work: more than ten slices of one job are."""
    items = sorted(resources.list("v1", "ConfigMap", NAMESPACE, labels=LABEL), key=lambda item: str(item["metadata"]["name"]))
    for item in items[:-KEPT]:
        document = json.loads((item.get("data") or {}).get("fleet.json") or "{}")
        if document.get("ended") or not _is_young(document.get("began"), resources.client.now()):
            resources.delete(Ref("v1", "ConfigMap", NAMESPACE, item["metadata"]["name"]))


def _is_young(began: str | None, now: float) -> bool:
    """Return whether a fleet that began then may be at work still."""
    return bool(began) and datetime.datetime.fromisoformat(str(began)).timestamp() > now - LONGEST.total_seconds()


def carried(document: Mapping[str, Any], options: Mapping[str, Any], rule: Rule) -> list[Tenant]:
    """Return how the tenants of a recorded run fared, and those of the runs that it resumed itself, in the order in which they were first tried.

    One of this run's tenants whose ``settings`` (a hash by tenant) are others by now is left out, since its outcome was that of others; one that
    this run leaves alone is not, since nothing says that they are. Left out is also the failure of one that is ``excused``. Raises PlatformError
    when the run deployed another release, or when one is excused of which ``rule`` does not say that it went wrong.
    """
    if document["release"] != options["release"]:
        raise PlatformError(
            f"fleet {document['fleet']} deployed other images ({document['release']}, now {options['release']}), so its tenants are not done; "
            "run without fleet_resume"
        )
    newest = {entry["name"]: Tenant(**entry) for entry in [*document.get("earlier", []), *document["tenants"]]}
    failed = {name for name, tenant in newest.items() if tenant.wrong(rule) or tenant.earlier}
    excused = set(options["excused"])
    if unknown := sorted(excused - failed):
        known = f"there went wrong {', '.join(sorted(failed))}" if failed else "none did"
        raise PlatformError(f"fleet_excused names {', '.join(unknown)}, and in fleet {document['fleet']} none of that name went wrong: {known}")
    recorded, settings = document.get("settings", {}), options["settings"]
    others = {name for name in options["tenants"] if recorded.get(name) != settings.get(name)}
    same = [tenant for tenant in newest.values() if tenant.name not in others]
    return [_remembered(tenant, tenant.name in excused) for tenant in same if tenant.name not in excused or tenant.result not in BAD]


def _remembered(tenant: Tenant, excused: bool) -> Tenant:
    """Return a tenant with its failure kept: when it is tried again its result is another one. Of one that is excused nothing is kept against it."""
    if excused:
        return replace(tenant, earlier="", requests=0.0, errors=0.0)
    return replace(tenant, earlier=tenant.earlier or tenant.error or tenant.result.replace("_", " ")) if tenant.result in BAD else tenant


def done(tenants: Iterable[Tenant]) -> list[str]:
    """Return the names of those that serve the release."""
    return sorted(tenant.name for tenant in tenants if tenant.result not in BAD)


def live(clients: Clients, params: Mapping[str, Any], seconds: float) -> tuple[dict[tuple[str, str], tuple[float, float]], str]:
    """Return requests and server errors of the last ``seconds`` by (namespace, revision), and "" or why they are not known."""
    window = f"[{max(SHORTEST, round(seconds))}s]"
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
