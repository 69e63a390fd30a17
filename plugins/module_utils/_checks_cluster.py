# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks before anything is written: the cluster, the platform, permissions, names, the plan."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    listed,
    plural,
    subject,
)
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import TENANT_LABEL, Ref

DEPLOY_PLATFORM = "run deploy_platform.yml with an administrator's kubeconfig"


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the numbers of a version: ``v1.35.4-rc.1`` is (1, 35, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", text.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0]))


@check(
    "cluster",
    subject("API server"),
    minimum=Param("First supported minor version.", default="1.33"),
    maximum=Param("Last supported minor version.", default="1.35"),
)
def cluster(params: Mapping[str, Any], clients: Clients) -> str:
    """The API server answers and its version is supported."""
    version = clients.client.request("GET", "/version", target="version", verb="get")
    git = str(version.get("gitVersion", ""))
    minor = version_tuple(git)[:2]
    if not version_tuple(params["minimum"])[:2] <= minor <= version_tuple(params["maximum"])[:2]:
        raise CheckFailed(
            f"Kubernetes {git} at {clients.client.connection.server} is not supported, {params['minimum']} to {params['maximum']} are",
            "upgrade the cluster, or use the release of this collection made for it",
            final=True,
        )
    return f"Kubernetes {git} at {clients.client.connection.server}"


@check(
    "platform",
    subject("{namespace}/{name}"),
    namespace=Param("Namespace of the platform.", default="barberpro-system"),
    name=Param("Secret that deploy_platform writes, with the key C(version).", default="barberpro-platform"),
    version=Param("Lowest version that will do. Not checked by default."),
    crds=Param("CustomResourceDefinitions that must be established.", type="list", elements="str", default=[]),
    deployments=Param("NAMESPACE/NAME of Deployments that must be available.", type="list", elements="str", default=[]),
    gateway=Param("NAMESPACE/NAME of the Gateway that must be programmed."),
)
def platform(params: Mapping[str, Any], clients: Clients) -> str:
    """What tenants share is installed: its record, custom resources, controllers and gateway."""
    resources = clients.resources
    record = resources.get(Ref("v1", "Secret", params["namespace"], params["name"]))
    if record is None:
        missing = f"no platform is installed in this cluster: Secret {params['namespace']}/{params['name']} does not exist"
        raise CheckFailed(missing, DEPLOY_PLATFORM, final=True)
    version = base64.b64decode((record.get("data") or {}).get("version", "")).decode("utf-8", "replace") or "unknown"
    if params["version"] and version_tuple(version) < version_tuple(params["version"]):
        raise CheckFailed(f"the platform has version {version}, {params['version']} is needed", DEPLOY_PLATFORM, final=True)
    seen = [f"platform {version}"]
    for name in params["crds"]:
        crd = resources.get(Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name))
        if not condition(crd, "Established"):
            raise CheckFailed(f"CustomResourceDefinition {name} is {'not established' if crd else 'not installed'}", DEPLOY_PLATFORM)
    if params["crds"]:
        seen.append(f"{plural(len(params['crds']), 'custom resource')} established")
    for path in params["deployments"]:
        namespace, _sep, name = path.partition("/")
        deployment = resources.get(Ref("apps/v1", "Deployment", namespace, name))
        if not condition(deployment, "Available"):
            state = "is not available" if deployment else "does not exist"
            raise CheckFailed(f"Deployment {path} {state}", f"see kubectl -n {namespace} describe deployment {name}, then {DEPLOY_PLATFORM}")
    if params["deployments"]:
        seen.append(f"{plural(len(params['deployments']), 'controller')} available")
    if params["gateway"]:
        namespace, _sep, name = params["gateway"].partition("/")
        gateway = resources.get(Ref("gateway.networking.k8s.io/v1", "Gateway", namespace, name))
        if not condition(gateway, "Programmed"):
            state = "is not programmed" if gateway else "does not exist"
            raise CheckFailed(f"Gateway {params['gateway']} {state}", f"see kubectl -n {namespace} describe gateway {name}")
        seen.append(f"gateway {params['gateway']} programmed")
    return ", ".join(seen)


def condition(item: Mapping[str, Any] | None, kind: str) -> bool:
    """Return whether an object has a condition of this type that is true."""
    conditions = ((item or {}).get("status") or {}).get("conditions") or []
    return any(entry.get("type") == kind and entry.get("status") == "True" for entry in conditions)


@check(
    "access",
    subject("permissions"),
    rules=Param(
        "What will be done: dictionaries of C(group), C(resource), C(verbs), and optionally C(namespace) and C(name).",
        type="list",
        elements="dict",
        required=True,
    ),
)
def access(params: Mapping[str, Any], clients: Clients) -> str:
    """The caller may do all that the deploy will do: what a SelfSubjectRulesReview of the namespace does not say is asked verb by verb."""
    asked = [(rule, str(verb)) for rule in params["rules"] for verb in rule.get("verbs") or []]
    if not asked:
        raise CheckFailed("access: rules name no verb", "give each rule a resource and verbs", final=True)
    namespaces = sorted({str(rule["namespace"]) for rule, _verb in asked if rule.get("namespace")})
    reviews = dict(zip(namespaces, clients.client.map(lambda namespace: _rules(clients, namespace), namespaces), strict=True))
    if failed := next((answer for answer in reviews.values() if isinstance(answer, PlatformError)), None):
        raise failed

    def allowed(pair: tuple[Mapping[str, Any], str]) -> bool:
        rule, verb = pair
        known = reviews.get(str(rule.get("namespace") or ""))
        if isinstance(known, list) and any(_grants(granted, rule, verb) for granted in known):
            return True
        resource, _sep, sub = str(rule.get("resource", "")).partition("/")
        attributes = {"group": rule.get("group") or "", "resource": resource, "verb": verb}
        attributes.update({key: str(value) for key, value in (("namespace", rule.get("namespace")), ("name", rule.get("name"))) if value})
        if sub:
            attributes["subresource"] = sub
        return review(clients, attributes)

    denied = []
    for (rule, verb), answer in zip(asked, clients.client.map(allowed, asked), strict=True):
        if isinstance(answer, PlatformError):
            raise answer
        if not answer:
            group = f".{rule['group']}" if rule.get("group") else ""
            where = f" in {rule['namespace']}" if rule.get("namespace") else ""
            denied.append(f"{verb} {rule.get('resource')}{group}{where}")
    me = who_am_i(clients)
    if denied:
        raise CheckFailed(
            f"user {me} may not {listed(denied)}",
            "use the deployer's kubeconfig, or run deploy_platform.yml, which installs its ClusterRole",
            final=True,
        )
    return f"user {me} may do all {len(asked)} things asked"


def _rules(clients: Clients, namespace: str) -> list[dict[str, Any]]:
    """Return the rules that the API server says hold for us in a namespace. They may be fewer than there are, never more."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    answer = clients.client.request("POST", path, body=body, repeatable=True, target=f"rules in namespace {namespace}", verb="create")
    return list((answer.get("status") or {}).get("resourceRules") or [])


def _grants(granted: Mapping[str, Any], rule: Mapping[str, Any], verb: str) -> bool:
    """Return whether one granted rule allows a verb on what ``rule`` names."""
    names = granted.get("resourceNames") or []
    wanted = (("verbs", verb), ("apiGroups", rule.get("group") or ""), ("resources", rule.get("resource")))
    return all({"*", value} & set(granted.get(key) or []) for key, value in wanted) and (not names or rule.get("name") in names)


def review(clients: Clients, attributes: Mapping[str, Any]) -> bool:
    """Return whether we may do what ``attributes`` (of a SelfSubjectAccessReview) say."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": dict(attributes)}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = clients.client.request("POST", path, body=body, repeatable=True, target="access review", verb="create")
    return bool((answer.get("status") or {}).get("allowed"))


def who_am_i(clients: Clients) -> str:
    """Return the name by which the API server knows us."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = clients.client.request("POST", path, body=body, repeatable=True, target="who am I", verb="create")
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", "unknown"))


@check(
    "name_free",
    subject("{host}"),
    namespace=Param("Namespace of the tenant.", required=True),
    host=Param("Host name of the tenant.", required=True),
    tenant=Param("Name of the tenant.", required=True),
)
def name_free(params: Mapping[str, Any], clients: Clients) -> str:
    """The namespace and the host name are free or belong to this tenant."""
    namespace, host, tenant = params["namespace"], params["host"].lower().rstrip("."), params["tenant"]
    live = clients.resources.get(Ref("v1", "Namespace", "", namespace))
    if live is not None:
        labels = live["metadata"].get("labels") or {}
        owner = labels.get(TENANT_LABEL)
        if owner != tenant:
            whose = f"belongs to tenant {owner}" if owner else "is not one of ours"
            raise CheckFailed(f"Namespace {namespace} exists and {whose}", "choose another tenant name, or remove the namespace", final=True)
        if live["metadata"].get("deletionTimestamp"):
            raise CheckFailed(f"Namespace {namespace} is being deleted", f"wait until it is gone: kubectl wait --for=delete ns/{namespace}")
    claimed = _claims.holder(clients.resources, host)
    if claimed not in (None, tenant):
        raise CheckFailed(f"host {host} is taken: tenant {claimed} has claimed it", "choose another host name, or remove that tenant", final=True)
    for route, name in _claims.routes(clients.resources, host):
        meta = route["metadata"]
        owner = (meta.get("labels") or {}).get(TENANT_LABEL)
        if meta["namespace"] != namespace and owner != tenant:
            taken = f"host {host} is taken by HTTPRoute {meta['namespace']}/{meta['name']}" + (f" of tenant {owner}" if owner else "")
            below = "" if name == host else f", which names {name}"
            raise CheckFailed(taken + below, "choose another host name, or have that route changed", final=True)
    return f"host {host} is {'ours' if live else 'free'}, namespace {namespace} is {'ours' if live else 'free'}"


@check("plan", subject("release"), plan=Param("Result of the release module in state planned.", type="dict", required=True))
def plan(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """Records what the release module planned; the server has dry-run every object by then."""
    planned = params["plan"]
    if planned.get("failed") or planned.get("error"):
        raise CheckFailed(str(planned.get("error") or planned.get("msg") or "there is no plan"), final=True)
    counts = Counter(str(item.get("action", "unknown")) for item in planned.get("changes") or [])
    words = ", ".join(f"{counts[action]} {action}" for action in sorted(counts)) or "no objects"
    current = planned.get("current")
    revision = planned.get("revision", "unknown")
    if not planned.get("changed"):
        return f"revision {revision} stands, nothing to change ({words})"
    return f"revision {revision} after {f'r{current}' if current else 'none'}: {words}; the server accepts every object"
