"""Looks at a tenant with clients that are not ours: kubectl, SQL, a customer's request."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from typing import Any

from benchmarks.chaos.state import Look, problems
from tests.support import cluster, sql

# All that anybody may make in a namespace, but what controllers make of it by themselves.
_MADE_BY_CONTROLLERS = {
    "pods", "events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "replicasets.apps", "leases.coordination.k8s.io",
    "controllerrevisions.apps", "pods.metrics.k8s.io",
}  # fmt: skip
_MADE_BY_THE_CLUSTER = {"ConfigMap/kube-root-ca.crt"}
# Longer than a lease that nobody renews, and than a pod takes to drain.
PATIENCE = 150.0


def kinds() -> str:
    """Return every kind that a namespace can hold, for kubectl get."""
    listed = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    return ",".join(sorted(set(listed) - _MADE_BY_CONTROLLERS))


def _secret(name: str, key: str) -> dict[str, Any] | None:
    text = cluster.kubectl("get", "secret", name, "-n", "barberpro-system", "--ignore-not-found", "-o", f"jsonpath={{.data.{key}}}")
    found: dict[str, Any] | None = json.loads(base64.b64decode(text)) if text else None
    return found


def look(tenant: str, every_kind: str) -> Look:
    """Return what is seen of a tenant now."""
    namespace = f"tenant-{tenant}"
    items = cluster.objects(every_kind, "-n", namespace)
    lease = cluster.kubectl("get", "lease", f"tenant-{tenant}", "-n", "barberpro-system", "--ignore-not-found", "-o", "json")
    names = {f"{item['kind']}/{item['metadata']['name']}" for item in items} - _MADE_BY_THE_CLUSTER
    preflight = cluster.objects("pods,secrets", "-n", "barberpro-preflight", "-l", f"barberpro.platform/rehearsal={tenant}")
    return Look(
        journal=_secret(f"journal-{tenant}", "journal"),
        record=_secret(f"release-{tenant}-record", "record"),
        lease=json.loads(lease) if lease else None,
        objects=frozenset(names),
        routes=tuple(item for item in items if item["kind"] == "HTTPRoute"),
        pods=tuple(cluster.objects("pods", "-n", namespace)),
        strays=tuple(f"{item['kind']} barberpro-preflight/{item['metadata']['name']}" for item in preflight),
        now=time.time(),
        **_as_a_customer(tenant),
    )


def _as_a_customer(tenant: str) -> dict[str, str]:
    try:
        answer = cluster.ask(tenant, "/api/v1/business")
        if answer.status != 200:
            return {}
        return {"served_by": answer.headers.get("x-barberpro-revision", ""), "tagline": answer.json()["branding"]["tagline"]}
    except (OSError, ValueError, KeyError):
        return {}


def settled(tenant: str, every_kind: str, wanted: frozenset[str], tagline: str | None = None) -> tuple[Look, list[str]]:
    """Return the tenant and what is half-done of it, after old pods have had the time to end and killed ones to come back."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            seen = look(tenant, every_kind)
            found = problems(seen, wanted, tagline)
        except (AssertionError, ValueError, OSError, subprocess.SubprocessError) as error:  # the API server restarts
            seen, found = None, [str(error)]
        if seen is not None and not found:
            return seen, []
        if time.monotonic() > end:
            if seen is None:
                raise RuntimeError(f"tenant {tenant} cannot be looked at: {found[0]}")
            return seen, found
        time.sleep(1.0)


def bookings(tenant: str) -> set[str]:
    """Return the ids of all bookings of a tenant, read from its tables."""
    return {str(row[0]) for row in sql.rows(f'SELECT id FROM "{sql.schema_of(tenant)}".bookings')}


def scratch_schemas() -> list[str]:
    """Return schemas that a rehearsal has left."""
    return [str(row[0]) for row in sql.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'x!_%' ESCAPE '!'")]
