"""Logins of the cluster under test that are not the deployer's own: what a playbook says to whom it is not enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import cluster

NAMESPACE = "barberpro-system"


def kubeconfig_with(path: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Write the deployer's kubeconfig to `path`, changed by `change`; return the path."""
    config = yaml.safe_load(Path(cluster.facts()["deployer_kubeconfig"]).read_text())
    change(config)
    path.write_text(json.dumps(config))
    return str(path)


@contextmanager
def service_account(name: str, path: Path) -> Iterator[str]:
    """Yield a kubeconfig of a service account that nobody has given anything."""
    cluster.kubectl("create", "serviceaccount", name, "-n", NAMESPACE)
    try:
        token = cluster.kubectl("create", "token", name, "-n", NAMESPACE).strip()

        def as_account(config: dict[str, Any]) -> None:
            config["users"][0]["user"] = {"token": token}

        yield kubeconfig_with(path, as_account)
    finally:
        cluster.kubectl("delete", "serviceaccount", name, "-n", NAMESPACE)


@contextmanager
def deployer_without(verb: str, group: str, resource: str, path: Path) -> Iterator[str]:
    """Yield a kubeconfig of a service account that may do all that the deployer may but for one verb of one resource."""
    name = f"e2e-lesser-{resource}-{verb}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    (role,) = cluster.objects("clusterrole", "barberpro-deployer")
    rules = []
    for rule in role["rules"]:
        if rule["apiGroups"] == [group] and resource in rule["resources"]:
            rules.append({"apiGroups": [group], "resources": [resource], "verbs": [one for one in rule["verbs"] if one != verb]})
            rule = {**rule, "resources": [one for one in rule["resources"] if one != resource]}
        if rule["resources"]:
            rules.append(rule)
    made = [
        _role("ClusterRole", name, rules=rules),
        _binding("ClusterRoleBinding", name, "ClusterRole", name, subject),
        {**_binding("RoleBinding", name, "Role", "barberpro-deployer-promql", subject), "metadata": {"name": name, "namespace": "barberpro-monitoring"}},
    ]
    with service_account(name, path) as kubeconfig:
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
        cluster.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            yield kubeconfig
        finally:
            cluster.kubectl("delete", "-f", "-", stdin=manifest)


def _role(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, **content}


def _binding(kind: str, name: str, role_kind: str, role: str, subject: dict[str, str]) -> dict[str, Any]:
    return _role(kind, name, roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}, subjects=[subject])
