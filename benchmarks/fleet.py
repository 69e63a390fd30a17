"""A fleet of tenants as objects, without a cluster: the policies of the role's own template, two workloads and two pods a tenant."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils import _render_filters

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "roles" / "tenant" / "templates" / "infrastructure" / "40-network.yml.j2"
PLATFORM = {
    "gateway_namespace": "barberpro-gateway",
    "monitoring_namespace": "barberpro-monitoring",
    "data_namespace": "barberpro-data",
    "database_cidrs": [],
    "database_port": 5432,
}
# The platform's own pods: namespace, name, labels.
SHARED = (
    ("kube-system", "coredns-1", {"k8s-app": "kube-dns"}),
    ("barberpro-gateway", "envoy-1", {"app.kubernetes.io/name": "envoy"}),
    ("barberpro-data", "postgresql-0", {"app.kubernetes.io/name": "postgresql"}),
    ("barberpro-monitoring", "prometheus-0", {"app.kubernetes.io/name": "prometheus"}),
)


@cache
def workloads() -> dict[str, Any]:
    """Return the workloads of a barbershop, from the roles' defaults."""
    found: dict[str, Any] = {}
    for role in ("vertical_base", "barbershop"):
        found |= yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())[f"{role}_workloads"]
    return {name: {"calls": [], **workload} for name, workload in found.items()}


@cache
def _template() -> jinja2.Template:
    # What a later version of the template asks for beyond this counts as empty.
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(_render_filters.FILTERS)
    return environment.from_string(TEMPLATE.read_text())


@cache
def _documents() -> tuple[dict[str, Any], ...]:
    """Return the template's policies; none of their fields differs from tenant to tenant but the namespace."""
    text = _template().render(workloads=workloads(), platform=PLATFORM, tenant={"name": "any", "namespace": "any"})
    return tuple(document for document in yaml.safe_load_all(text) if document)


def policies(namespace: str) -> list[dict[str, Any]]:
    """Return the NetworkPolicies of a tenant's namespace."""
    return [{**document, "metadata": {**document["metadata"], "namespace": namespace}} for document in _documents()]


def pods(tenant: str, namespace: str) -> list[dict[str, Any]]:
    """Return one pod of each workload, labelled as the role labels them."""
    found = []
    for name, workload in workloads().items():
        component = name.replace("_", "-")
        labels = {
            "app.kubernetes.io/component": component,
            "barberpro.platform/tenant": tenant,
            "barberpro.platform/database": str(bool(workload.get("database"))).lower(),
        }
        ports = [{"name": "http", "containerPort": workload["port"]}, {"name": "management", "containerPort": 9090}]
        metadata = {"namespace": namespace, "name": f"{component}-r1-0", "labels": labels}
        found.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "main", "ports": ports}]}})
    return found


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}}


def _quota(space: str) -> dict[str, Any]:
    hard = {"pods": "20", "limits.memory": "4Gi"}
    metadata = {"namespace": space, "name": "tier"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": {"pods": "2"}}}


def objects(tenants: int, prefix: str = "shop") -> dict[str, list[dict[str, Any]]]:
    """Return what the isolation report reads from a cluster with so many tenants, named PREFIX-0000 and so on."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("namespaces", "pods", "policies", "accounts", "roles", "role_bindings")}
    found |= {"cluster_roles": [], "cluster_role_bindings": [], "quotas": [], "nodes": []}
    for space, name, labels in SHARED:
        found["namespaces"].append(namespace(space))
        found["pods"].append({"metadata": {"namespace": space, "name": name, "labels": labels}, "spec": {"containers": []}})
    for number in range(tenants):
        tenant = f"{prefix}-{number:04d}"
        space = f"tenant-{tenant}"
        found["namespaces"].append(namespace(space, **{"barberpro.platform/tenant": tenant}))
        found["pods"] += pods(tenant, space)
        found["policies"] += policies(space)
        for name in workloads():
            found["accounts"].append({"metadata": {"namespace": space, "name": name.replace("_", "-")}})
        role = {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]}
        found["roles"].append({"metadata": {"namespace": space, "name": "viewer"}, "rules": [role]})
        found["quotas"].append(_quota(space))
        subject = {"kind": "Group", "name": f"barberpro:tenant:{tenant}:viewers"}
        binding = {"metadata": {"namespace": space, "name": "viewer"}, "roleRef": {"kind": "Role", "name": "viewer"}, "subjects": [subject]}
        found["role_bindings"].append(binding)
    return found
