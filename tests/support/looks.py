"""All that a deploy could change of a tenant, as other clients see it: kubectl, SQL, DNS and the public API."""

from __future__ import annotations

import json
import re
from typing import Any

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from tests.support import cluster, sql

KINDS = (
    "deployments,services,configmaps,secrets,serviceaccounts,resourcequotas,limitranges,networkpolicies,roles,rolebindings,jobs,"
    "poddisruptionbudgets,httproutes,servicemonitors,prometheusrules"
)
# Written by the server on every write, or by controllers; what a user sets is the rest.
BOOKKEEPING = ("resourceVersion", "generation", "managedFields", "creationTimestamp")


def objects(tenant: str) -> dict[str, str]:
    """Return the tenant's objects by "Kind namespace/name", each as text that changes when something that a user can set does."""
    items = cluster.objects(KINDS, "-n", f"tenant-{tenant}")
    items += cluster.objects("namespaces", "-l", f"barberpro.platform/tenant={tenant}")
    items += cluster.objects("configmaps", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={tenant},!barberpro.platform/report")
    found = {}
    for item in items:
        metadata = item["metadata"]
        if metadata["name"] == "kube-root-ca.crt":
            continue
        where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
        kept = {key: value for key, value in metadata.items() if key not in BOOKKEEPING}
        kept["annotations"] = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != "deployment.kubernetes.io/revision"}
        found[f"{item['kind']} {where}{metadata['name']}"] = json.dumps({**item, "metadata": kept, "status": None}, sort_keys=True)
    return found


def versions(tenant: str) -> dict[str, str]:
    """Return the version of everything that a deploy writes, in the tenant's namespace and in the system's."""
    not_beside = f"barberpro.platform/tenant notin ({','.join(cluster.BESIDE)})"
    system = cluster.versions("secrets,configmaps,leases", "-n", "barberpro-system", "-l", not_beside)
    # The record of an offboarding outlives the tenant and has no label of it.
    records = {f"ConfigMap barberpro-system/offboarding-{name}" for name in cluster.BESIDE}
    return cluster.versions(KINDS, "-n", f"tenant-{tenant}") | {name: version for name, version in system.items() if name not in records}


def _answer(host: str) -> dns.message.Message:
    """Ask the zone's own server for the addresses of a host."""
    zone = cluster.facts()["dns"]
    return dns.query.udp(dns.message.make_query(f"{host}.", dns.rdatatype.A), zone["server"], port=zone["port"], timeout=5)


def record(tenant: str) -> list[str]:
    """Return what the zone's own server says about the tenant's host."""
    return sorted(str(item) for found in _answer(cluster.host_of(tenant)).answer for item in found)


def rcode(host: str) -> str:
    """Return how the zone's own server answers for a host: NOERROR when it knows it, NXDOMAIN when there is no such name."""
    return dns.rcode.to_text(_answer(host).rcode())


def of(tenant: str) -> dict[str, Any]:
    """Look at everything."""
    return {"objects": objects(tenant), "versions": versions(tenant), "sql": sql.snapshot(), "record": record(tenant)}


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Return what happened to each object: created, changed or deleted."""
    found = dict.fromkeys(after.keys() - before.keys(), "created") | dict.fromkeys(before.keys() - after.keys(), "deleted")
    return found | {key: "changed" for key in before.keys() & after.keys() if before[key] != after[key]}


def shape(tenant: str) -> dict[str, str]:
    """Return all that a deploy writes in the tenant's namespace, with its specs, as it is of any revision and of any number of pods."""
    found = {}
    for name, text in objects(tenant).items():
        item = json.loads(text)
        for key in ("uid", "ownerReferences", "finalizers"):
            item["metadata"].pop(key, None)
        spec = item.get("spec") or {}
        for key in ("pods", "count/pods"):
            spec.get("hard", {}).pop(key, None)
        if item["kind"] == "Job":  # its controller writes the uid of the Job into these
            spec.pop("selector")
            spec["template"]["metadata"].pop("labels")
        if item["kind"] == "Service":
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        if item["kind"] == "ServiceAccount":
            item.pop("secrets", None)
        found[re.sub(r"-r\d+\b", "-rN", name)] = re.sub(r"\br\d+\b", "rN", json.dumps(item, sort_keys=True))
    return found


def bookkeeping(tenant: str) -> dict[str, Any]:
    """Return whether the journal is closed, the lease free, and what a rehearsal would have left."""
    text = cluster.kubectl("get", "secret", f"journal-{tenant}", "-n", "barberpro-system", "-o", "go-template={{index .data.journal | base64decode}}")
    journal = json.loads(text)
    (lease,) = cluster.objects("lease", f"tenant-{tenant}", "-n", "barberpro-system")
    return {
        "closed": bool(journal["closed"]),
        "outcome": journal["outcome"],
        "holder": lease["spec"].get("holderIdentity"),
        "probes": cluster.objects("pods", "-n", f"tenant-{tenant}", "-l", "barberpro.platform/probe"),
        "scratch": sql.rows(f"SELECT nspname FROM pg_namespace WHERE nspname = '{sql.scratch_of(tenant)}'"),
    }


def unlike(before: Any, after: Any) -> Any:
    """Return what is not the same in two looks, without all that is: nothing when they agree."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = {key: unlike(before.get(key), after.get(key)) for key in sorted(before.keys() | after.keys())}
        return {key: different for key, different in found.items() if different}
    if before == after:
        return None
    if isinstance(before, list) and isinstance(after, list):
        return {"before": [item for item in before if item not in after], "after": [item for item in after if item not in before]}
    return {"before": before, "after": after}
