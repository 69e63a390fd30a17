# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The isolation report: reads what decides on isolation from the live cluster and the database, and says who reaches whom, and who has more than
its quota. Writes nothing there."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _isolation_keys, _isolation_network, _isolation_rbac, _isolation_sql
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import plural
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._isolation_html import write
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import exceeded
from ansible_collections.barberpro.platform.plugins.module_utils._report import iso
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._sql import SHARED_SCHEMA

RBAC = "rbac.authorization.k8s.io/v1"
KINDS = {
    "namespaces": ("v1", "Namespace"),
    "pods": ("v1", "Pod"),
    "nodes": ("v1", "Node"),
    "policies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "accounts": ("v1", "ServiceAccount"),
    "roles": (RBAC, "Role"),
    "role_bindings": (RBAC, "RoleBinding"),
    "cluster_roles": (RBAC, "ClusterRole"),
    "cluster_role_bindings": (RBAC, "ClusterRoleBinding"),
    "quotas": ("v1", "ResourceQuota"),
}
PLATFORM_NAMESPACES = ("gateway_namespace", "gateway_proxy_namespace", "data_namespace", "monitoring_namespace")
"""Facts of the platform that name a namespace with which tenants talk."""
Objects = dict[str, list[dict[str, Any]]]


def report(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the result of isolation_report, and write its files when a path is given. Raises PlatformError for a tenant that is not there."""
    begun = time.perf_counter()
    resources = Resources(client)
    found = checked(client.map(lambda kind: resources.list(*KINDS[kind]), KINDS))
    objects: Objects = dict(zip(KINDS, found, strict=True))
    seconds = {"read": time.perf_counter() - begun}
    facts = facts_of(resources)
    named = {str(facts[key]) for key in PLATFORM_NAMESPACES if facts.get(key)}
    document = build(objects, {**options, "shared_namespaces": sorted({*options["shared_namespaces"], *named})}, seconds)
    document["sql"] = _sql(resources, options, tenants_of(objects["namespaces"]), seconds)
    document["keys"] = _keys(resources, facts.get("vault") or {}, options, tenants_of(objects["namespaces"]), seconds)
    finish(document, seconds)
    result: dict[str, Any] = {"report": document, "isolated": document["isolated"], "summary": document["summary"], "findings": document["findings"]}
    if not document["tenants"]:
        result["warnings"] = [f"there are no tenants in this cluster: no namespace carries the label {TENANT_LABEL}"]
    if options.get("path") and not check_mode:
        result["files"] = write(str(options["path"]), document)
    return result


def facts_of(resources: Resources) -> dict[str, Any]:
    """Return what the platform says of itself; nothing where it is not installed."""
    secret = resources.get(Ref("v1", "Secret", SYSTEM_NAMESPACE, "barberpro-platform"))
    text = ((secret or {}).get("data") or {}).get("facts")
    facts: dict[str, Any] = json.loads(base64.b64decode(text)) if text else {}
    return facts


def tenants_of(namespaces: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the tenant of each tenant's namespace. The one in which objects of tenants to come are tried has none."""
    found = {}
    for item in namespaces:
        labels = item["metadata"].get("labels") or {}
        if labels.get(TENANT_LABEL) and f"{PREFIX}/preflight" not in labels:
            found[str(item["metadata"]["name"])] = str(labels[TENANT_LABEL])
    return found


def build(objects: Objects, options: Mapping[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """Return the document's parts that the cluster's objects decide; ``seconds`` is filled with what each part took."""
    begun = time.perf_counter()
    tenants = tenants_of(objects["namespaces"])
    asked = list(options.get("names") or [])
    missing = sorted(set(asked) - set(tenants.values()))
    if missing:
        raise PlatformError(f"tenant {missing[0]} has no namespace in this cluster; see the tenants with status.yml, or leave names out for all")
    world = _isolation_network.world(
        objects["namespaces"], tenants, options["shared_namespaces"], objects["pods"], objects["policies"], objects["nodes"]
    )
    network = _isolation_network.Network(world, asked)
    most = int(options["max_paths"])
    paths = [network.describe(*path) for path in islice(network.paths(), most + 1)]
    hosts = [pod for pod in world.host_network if pod.partition("/")[0] in tenants and (not asked or tenants[pod.partition("/")[0]] in asked)]
    document: dict[str, Any] = {
        "generated": iso(time.time()),
        "tenants": asked or network.tenants,
        "network": {
            "pairs": network.pairs,
            "open_pairs": network.open_pairs,
            "paths": paths[:most],
            "complete": len(paths) <= most,
            "host_network": sorted(hosts),
            "shared": network.shared(),
            "outside": network.outside(),
            "without_pods": network.without_pods(),
            "pods": len(world.pods) - len(tenants),
            "classes": len(network.model.classes),
            "policies": len(world.policies),
        },
    }
    seconds["network"] = time.perf_counter() - begun
    begun = time.perf_counter()
    rbac = _isolation_rbac.Rbac(objects["roles"], objects["role_bindings"], objects["cluster_roles"], objects["cluster_role_bindings"])
    document["rbac"] = _isolation_rbac.findings(rbac, tenants, objects["accounts"], options["platform_subjects"], options["shared_namespaces"])
    document["rbac"]["findings"] = [item for item in document["rbac"]["findings"] if _concerns(item, asked)]
    seconds["rbac"] = time.perf_counter() - begun
    quotas = [quota for quota in objects["quotas"] if quota["metadata"]["namespace"] in tenants]
    over = [{"tenant": tenants[quota["metadata"]["namespace"]], "sentence": sentence} for quota in quotas if (sentence := exceeded(quota))]
    document["quotas"] = {"quotas": len(quotas), "findings": [item for item in over if _concerns(item, asked)]}
    return document


def _concerns(finding: Mapping[str, Any], asked: list[str]) -> bool:
    """Return whether a finding is about one of the tenants that were asked for; what everybody may do is about all."""
    own = finding.get("tenants") or ([finding["tenant"]] if finding.get("tenant") else [])
    return not asked or not own or finding.get("target") in asked or bool(set(own) & set(asked))


def _asked_for(tenants: Mapping[str, str], options: Mapping[str, Any]) -> set[str]:
    """Return the tenants that the report is about."""
    return set(options.get("names") or tenants.values())


def _sql(resources: Resources, options: Mapping[str, Any], tenants: Mapping[str, str], seconds: dict[str, float]) -> dict[str, Any] | None:
    """Return the database's part, None when no administrator of a database is given."""
    database = options.get("database")
    if not database:
        return None
    begun = time.perf_counter()
    secrets = resources.list("v1", "Secret", fields=f"metadata.name={database['secret']}")
    schemas = _isolation_sql.schemas_of(secrets, tenants)
    found = _isolation_sql.examine(database, schemas, [SHARED_SCHEMA, *database["shared_schemas"]])
    found["findings"] = [item for item in found["findings"] if _concerns(item, list(options.get("names") or []))]
    found["without_schema"] = sorted(_asked_for(tenants, options) - set(schemas.values()))
    seconds["sql"] = time.perf_counter() - begun
    return found


def _keys(
    resources: Resources, vault: Mapping[str, Any], options: Mapping[str, Any], tenants: Mapping[str, str], seconds: dict[str, float]
) -> dict[str, Any] | None:
    """Return the part of the tenants' keys, None where the platform has no Vault."""
    if not vault:
        return None
    begun = time.perf_counter()
    found = _isolation_keys.examine(resources.client, vault, tenants)
    found["findings"] = [item for item in found["findings"] if _concerns(item, list(options.get("names") or []))]
    found["without_key"] = sorted(_asked_for(tenants, options) & set(found["without_key"]))
    seconds["keys"] = time.perf_counter() - begun
    return found


def _not_asked(document: Mapping[str, Any]) -> list[str]:
    """Return what nobody was asked about, as parts of a sentence: where nothing was looked at, nothing was found."""
    sql, keys = document.get("sql"), document.get("keys")
    found = [] if sql else ["the database was not asked"]
    for part, missing, what in ((sql, "without_schema", "schema"), (keys, "without_key", "key")):
        if part and part[missing]:
            found.append(f"{plural(len(part[missing]), 'tenant')} without a {what}: {', '.join(part[missing][:5])}{', ...' if len(part[missing]) > 5 else ''}")
    return found


def finish(document: dict[str, Any], seconds: Mapping[str, float]) -> None:
    """Add the findings as sentences, the summary, and how long each part took."""
    network, parts = document["network"], [document["rbac"], document.get("sql") or {}, document.get("keys") or {}]
    paths = [path["sentence"] for path in network["paths"]]
    paths += [f"{pod} has its node's network, which no policy governs" for pod in network["host_network"]]
    rights = [item["sentence"] for part in parts for item in part.get("findings", [])]
    over = [item["sentence"] for item in document["quotas"]["findings"]]
    document["findings"] = paths + rights + over
    document["isolated"] = not document["findings"] and not network["open_pairs"]
    head = f"{plural(len(document['tenants']), 'tenant')}, {plural(network['pairs'], 'pair')}"
    if document["isolated"]:
        document["summary"] = f"{head}, nobody reaches anybody"
    else:
        parts = [f"{plural(network['open_pairs'], 'pair')} open"] if network["open_pairs"] else ["no path open"]
        parts += [f"{plural(len(network['host_network']), 'pod')} outside of all policies"] if network["host_network"] else []
        parts += [f"{plural(len(rights), 'right')} too many"] if rights else []
        parts += [f"{plural(len(over), 'quota')} exceeded"] if over else []
        document["summary"] = f"{head}, {', '.join(parts)}"
    document["summary"] += "".join(f"; {sentence}" for sentence in _not_asked(document))
    document["seconds"] = {key: round(value, 3) for key, value in seconds.items()}
