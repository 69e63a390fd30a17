"""What a tenant's owner writes in the namespace: one good object of each kind that the admission policies have a say in, and wrong ones of it.

An object is wrong in one field, so that the refusal names the policy that has judged it: ``barberpro-tenant-owners`` refuses finalizers of any kind,
``barberpro-tenant-rules`` images, addresses and host names.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client

from benchmarks import tenants
from benchmarks.fleet import PLATFORM
from tests.support.restricted import pod_spec

# All that a LimitRange would fill in is there, so that an apply of the same object changes nothing.
_AMOUNT = {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"}
_FOREIGN = f"docker.io/library/busybox@sha256:{'c' * 64}"
_FINALIZER = ("control removal", ("metadata", "finalizers"), ["bench.test/hold"])
# Which rule is broken, where, and by what value. Kinds that are not here are judged by the policy of the owners alone.
_RULES: dict[str, tuple[str, tuple[str | int, ...], Any]] = {
    "Pod": ("control images", ("spec", "containers", 0, "image"), _FOREIGN),
    "Deployment": ("control images", ("spec", "template", "spec", "containers", 0, "image"), _FOREIGN),
    "CronJob": ("control images", ("spec", "jobTemplate", "spec", "template", "spec", "containers", 0, "image"), _FOREIGN),
    "Service": ("control services", ("spec", "externalIPs"), ["192.0.2.7"]),
    "HTTPRoute": ("control host-names", ("spec", "hostnames"), ["bench.example.com"]),
}


class Person(Client):
    """A client that acts as a user: the API server authorizes, queues and admits its requests as those of that user."""

    user = ""

    def headers(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers of a request, with the name of the user it is made as."""
        return {**super().headers(extra), "Impersonate-User": self.user}


def owner(kubeconfig: str, tenant: str) -> Person:
    """Return a client that acts as the owner whom the benchmarks' tenants are rendered for; the kubeconfig is an administrator's."""
    client = Person.from_options({"kubeconfig": kubeconfig})
    assert isinstance(client, Person)
    client.user = f"owner@{tenant}"
    return client


def _pod(name: str) -> dict[str, Any]:
    spec = pod_spec(tenants.IMAGE, {"requests": _AMOUNT, "limits": _AMOUNT})
    return {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 0, **spec}}


def objects(tenant: str, name: str) -> list[dict[str, Any]]:
    """Return a good object of each kind, all of one name. Of the workloads only the pod runs."""
    own = tenants.own("tenancy", tenant)["tenant"]
    chosen = {"matchLabels": {"app": name}}
    peers = [{"podSelector": {"matchLabels": {"app": "other"}}}]
    job = _pod(name)
    job["spec"]["restartPolicy"] = "Never"
    rbac = "rbac.authorization.k8s.io"
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Pod", "spec": _pod(name)["spec"]},
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "selector": chosen, "template": _pod(name)}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": {"template": job}}}},
        {"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}},
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "spec": {
                "parentRefs": [{"name": "barberpro", "namespace": PLATFORM["gateway_namespace"]}],
                "hostnames": [own["host"]],
                "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
            },
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "spec": {"podSelector": chosen, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": peers}], "egress": [{"to": peers}]},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "viewer"},
            "subjects": [{"kind": "User", "apiGroup": rbac, "name": f"clerk@{tenant}"}],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "value"}},
    ]
    return [{**obj, "metadata": {"name": name, "namespace": own["namespace"], "labels": {"app": name}}} for obj in found]


def relabelled(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with one more label: a change that both policies judge (the rules let updates pass that change nothing they look at)."""
    return changed(obj, ("metadata", "labels", "again"), "yes")


def wrong(obj: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the control that refuses it and the wrong object, for each policy that judges objects of this kind."""
    broken = [_FINALIZER, *([_RULES[obj["kind"]]] if obj["kind"] in _RULES else [])]
    return [(control, changed(obj, path, value)) for control, path, value in broken]


def changed(obj: Mapping[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return a copy with one field set."""
    result = copy.deepcopy(dict(obj))
    at: Any = result
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return result
