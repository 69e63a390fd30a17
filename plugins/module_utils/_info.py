# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there: the tenants of a cluster at a glance, and the revisions of one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _diff
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Entry
from ansible_collections.barberpro.platform.plugins.module_utils._client import MANAGER, Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._inventory import TENANTS, describe
from ansible_collections.barberpro.platform.plugins.module_utils._lease import Lease
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, READY
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import exceeded
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess
from ansible_collections.barberpro.platform.plugins.module_utils._resources import (
    SYSTEM_NAMESPACE,
    TENANT_LABEL,
    Ref,
    Resources,
    own_digest,
    ref_of_key,
)
from ansible_collections.barberpro.platform.plugins.module_utils._store import RECORD_TYPE, Store, numbered
from ansible_collections.barberpro.platform.plugins.module_utils._wait import WORKLOADS

Objects = dict[str, dict[str, Any]]


def releases(client: Client, options: Mapping[str, Any], _check_mode: bool) -> dict[str, Any]:
    """Return the result of release_info. Raises PlatformError when the asked revision is not kept."""
    resources, tenant = Resources(client), str(options["name"])
    # First: a run that ends after this is not in what follows.
    fence = Lease(resources, tenant, {}).fence()
    store = Store(resources, tenant)
    record, kept = store.opened()

    def state(number: int) -> str:
        if number in (record.current, record.pending):
            return "current" if number == record.current else "pending"
        return "kept" if number in record.proven else "unfinished"

    result: dict[str, Any] = {
        "exists": record.stored is not None,
        "current": record.current,
        "pending": record.pending,
        "previous": record.finished,
        "highest": record.highest,
        "fence": fence,
        "revisions": [
            {
                "number": number,
                "state": state(number),
                "content_hash": item.content_hash,
                "objects": item.objects,
                "created": item.created,
            }
            for number, item in kept.items()
        ],
    }
    if options.get("revision") is not None:
        number = int(options["revision"])
        result["objects"] = [_diff.redacted(obj) for obj in numbered(store.read(number), number)]
    if options.get("images"):
        result["images"] = sorted({image for objects in checked(client.map(store.read, list(kept))) for image in images_of(objects)})
    return result


def images_of(part: Any) -> set[str]:
    """Return the images of all containers in an object or in a list of some, wherever its kind has the template of its pods."""
    if isinstance(part, list):
        return set().union(*map(images_of, part))
    if not isinstance(part, Mapping):
        return set()
    own = {str(item["image"]) for key in ("containers", "initContainers") for item in part.get(key) or [] if item.get("image")}
    return own.union(*(images_of(part[key]) for key in ("spec", "template", "jobTemplate") if key in part))


def tenants(client: Client, options: Mapping[str, Any], _check_mode: bool) -> dict[str, Any]:
    """Return the result of tenant_info: one LIST a kind serves all tenants."""
    resources = Resources(client)
    name = options.get("name")
    selector = f"{TENANT_LABEL}={name}" if name else TENANT_LABEL
    namespaces = resources.list("v1", "Namespace", labels=f"{selector},{TENANTS}" if name else TENANTS)
    records = _records(resources, selector)
    entries = {tenant: _entries(record) for tenant, record in records.items()}
    kinds = {(entry.api_version, ref_of_key(key, entry.api_version).kind) for known in entries.values() for key, entry in known.items()}
    kinds |= {("apps/v1", "Deployment"), ("gateway.networking.k8s.io/v1", "HTTPRoute"), ("v1", "ResourceQuota")}
    if not options.get("health"):
        kinds = {("gateway.networking.k8s.io/v1", "HTTPRoute")}
    live = _live(resources, kinds, selector)
    live.update({Ref.of(obj).key: obj for obj in namespaces})
    related = _related(resources, live, namespaces) if options.get("health") else Related()
    found = []
    for namespace in namespaces:
        tenant = describe(namespace)
        known = entries.get(tenant["name"], {})
        record = records.get(tenant["name"], {})
        item = {**tenant, "host": _host(live, tenant["namespace"]), "revision": record.get("current"), "pending": record.get("pending")}
        if options.get("health"):
            own = [obj for key, obj in live.items() if obj["metadata"].get("namespace") == tenant["namespace"]]
            item["health"], item["health_reason"] = _health(namespace, own, related)
            item["drift"] = _drift(known, live)
        found.append(item)
    return {"tenants": sorted(found, key=lambda item: str(item["name"]))}


def _records(resources: Resources, selector: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for secret in resources.list("v1", "Secret", SYSTEM_NAMESPACE, labels=selector, fields=f"type={RECORD_TYPE}"):
        found[secret["metadata"]["labels"][TENANT_LABEL]] = json.loads(base64.b64decode(secret["data"]["record"]))
    return found


def _entries(record: Mapping[str, Any]) -> dict[str, Entry]:
    return {key: Entry(**entry) for key, entry in (record.get("objects") or {}).items()}


def _live(resources: Resources, kinds: set[tuple[str, str]], selector: str) -> Objects:
    def look(item: tuple[str, str]) -> list[dict[str, Any]]:
        try:
            return resources.list(*item, labels=selector)
        except PlatformError as error:
            if "is not known to the cluster" in error.message:  # its CRD has gone, and its objects with it
                return []
            raise

    return {Ref.of(obj).key: obj for page in checked(resources.client.map(look, sorted(kinds))) for obj in page}


def _related(resources: Resources, live: Objects, namespaces: list[dict[str, Any]]) -> Related:
    """Read pods and ReplicaSets where a workload is not ready: only there are they needed to say why."""
    now = resources.client.now()
    late = {str(obj["metadata"].get("namespace")) for obj in live.values() if obj["kind"] in WORKLOADS and assess(obj, Related(now=now)).outcome != READY} & {
        str(namespace["metadata"]["name"]) for namespace in namespaces
    }
    pods: list[dict[str, Any]] = []
    sets: list[dict[str, Any]] = []
    for namespace in sorted(late):
        pods += resources.list("v1", "Pod", namespace)
        sets += resources.list("apps/v1", "ReplicaSet", namespace)
    return Related(pods, sets, (), now, resources.client.node_timeout)


def _health(namespace: Mapping[str, Any], objects: list[dict[str, Any]], related: Related) -> tuple[str, str]:
    """Return health and its reason. A quota that is exceeded is told in any case, and is the health of what is well otherwise."""
    if namespace["metadata"].get("deletionTimestamp"):
        return "terminating", "the namespace is being deleted"
    health, reason = _workloads(objects, related)
    over = [sentence for obj in objects if obj["kind"] == "ResourceQuota" and (sentence := exceeded(obj))]
    if over and health in ("healthy", "empty"):
        return "over_quota", "; ".join(over)
    return health, "; ".join([reason, *over] if reason else [])


def _workloads(objects: list[dict[str, Any]], related: Related) -> tuple[str, str]:
    workloads = [obj for obj in objects if obj["kind"] in WORKLOADS]
    if not workloads:
        return "empty", "there are no workloads"
    states = [(Ref.of(obj), assess(obj, related)) for obj in workloads]
    states.sort(key=lambda item: (item[1].outcome == READY, item[1].outcome != FAILED, str(item[0])))
    ref, worst = states[0]
    if worst.outcome == READY:
        return "healthy", ""
    return ("failed" if worst.outcome == FAILED else "progressing"), f"{ref}: {worst.reason}"


def _drift(entries: Mapping[str, Entry], live: Objects) -> list[str]:
    """Say which recorded objects are not as we left them. A Job may go when its time is up."""
    found = []
    for key, entry in sorted(entries.items()):
        ref, obj = ref_of_key(key, entry.api_version), live.get(key)
        if obj is None:
            if ref.kind != "Job":
                found.append(f"{ref} is missing")
        elif entry.uid != obj["metadata"].get("uid"):
            found.append(f"{ref} was made anew by others")
        elif entry.digest != own_digest(obj):
            found.append(f"{ref} was changed by {_last_writer(obj)}")
    return found


def _last_writer(obj: Mapping[str, Any]) -> str:
    """Name the newest manager of fields that is not ours. Status does not count: controllers write it all the time."""
    entries = [
        entry for entry in obj["metadata"].get("managedFields") or [] if entry.get("manager") != MANAGER and entry.get("subresource") != "status"
    ]
    newest: Mapping[str, Any] = max(entries, key=lambda entry: str(entry.get("time") or ""), default={})
    return str(newest.get("manager") or "others")


def _host(live: Objects, namespace: str) -> str | None:
    route = live.get(f"HTTPRoute.gateway.networking.k8s.io {namespace}/main")
    names = ((route or {}).get("spec") or {}).get("hostnames") or []
    return str(names[0]) if names else None
