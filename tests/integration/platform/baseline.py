"""One good object of each kind that a tenant's owner makes, and a way to change one field of it."""

from __future__ import annotations

import copy
from typing import Any

from tests.support import restricted

from .conftest import IMAGE, Guarded

ALL_RESOURCES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}


def named(shop: Guarded, version: str, kind: str, name: str = "mine", **fields: Any) -> dict[str, Any]:
    """Return an object of the tenant's namespace."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": shop.namespace, "labels": {"app": name}}, **fields}


def pod_spec() -> dict[str, Any]:
    """Return what a restricted pod runs."""
    return restricted.pod_spec(IMAGE, ALL_RESOURCES)


def template() -> dict[str, Any]:
    """Return a pod template."""
    return {"metadata": {"labels": {"app": "mine"}}, "spec": pod_spec()}


def good(shop: Guarded) -> dict[str, dict[str, Any]]:
    """Return one good object of each kind."""
    chosen = {"matchLabels": {"app": "mine"}}
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "guarded-delete", "resources": {"requests": {"storage": "1Gi"}}}
    job = {"template": {**template(), "spec": {**pod_spec(), "restartPolicy": "Never"}}}
    peers = [{"podSelector": {"matchLabels": {"app": "other"}}}]
    policy = {"podSelector": chosen, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": peers}], "egress": [{"to": peers}]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "viewer"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "clerk"}
    return {
        "pod": named(shop, "v1", "Pod", spec=pod_spec()),
        "deployment": named(shop, "apps/v1", "Deployment", spec={"replicas": 1, "selector": chosen, "template": template()}),
        "statefulset": named(shop, "apps/v1", "StatefulSet", spec={
            "serviceName": "mine", "selector": chosen, "template": template(), "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        }),
        "job": named(shop, "batch/v1", "Job", spec=job),
        "cronjob": named(shop, "batch/v1", "CronJob", spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": job}}),
        "service": named(shop, "v1", "Service", spec={"selector": {"app": "mine"}, "ports": [{"port": 80}]}),
        "route": named(shop, "gateway.networking.k8s.io/v1", "HTTPRoute", spec={
            "hostnames": [shop.host], "rules": [{"backendRefs": [{"name": "mine", "port": 80}]}],
        }),
        "claim": named(shop, "v1", "PersistentVolumeClaim", spec=claim),
        "role": named(shop, "rbac.authorization.k8s.io/v1", "Role", rules=[rule]),
        "binding": named(shop, "rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=[subject]),
        "policy": named(shop, "networking.k8s.io/v1", "NetworkPolicy", spec=policy),
        "config": named(shop, "v1", "ConfigMap", data={"key": "value"}),
        "secret": named(shop, "v1", "Secret", stringData={"key": "value"}),
        "account": named(shop, "v1", "ServiceAccount", automountServiceAccountToken=False),
    }


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with one field set; ``path`` is dotted, numbers index lists, None removes."""
    result = copy.deepcopy(obj)
    at: Any = result
    *parents, last = [int(step) if step.isdigit() else step for step in path.replace("~", "\0").split(".")]
    for step in parents:
        key = step.replace("\0", ".") if isinstance(step, str) else step
        at = at[key] if isinstance(at, list) else at.setdefault(key, {})
    key = last.replace("\0", ".") if isinstance(last, str) else last
    if isinstance(at, list) and key == len(at):
        at.append(value)
    elif value is None:
        del at[key]
    else:
        at[key] = value
    return result
