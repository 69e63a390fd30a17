# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the identities of tenants may do outside of their own namespaces, by the rules of RBAC.

Evaluated here instead of asked by access reviews: all verbs on all resources for some thousand identities in a thousand namespaces would be
billions of requests, and the rules are few. What a rule means is the server's own algorithm (any binding to the user or one of its groups
that allows); a test compares it with the server's access reviews.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import listed, plural

Obj = Mapping[str, Any]
Subject = tuple[str, str]  # kind and name; a service account's name is NAMESPACE/NAME
# Groups and users that every pod of every tenant can be.
EVERYBODY: tuple[Subject, ...] = (
    ("Group", "system:authenticated"),
    ("Group", "system:unauthenticated"),
    ("Group", "system:serviceaccounts"),
    ("User", "system:anonymous"),
)
# What Kubernetes lets everybody do, and what tells nobody anything about others: questions about oneself, and reads of what is public.
_ABOUT_ONESELF = {
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
}
_PUBLIC_NAMESPACE = "kube-public"
_ACCOUNTS = "system:serviceaccounts:"  # the group of all accounts of a namespace


@dataclass(frozen=True)
class Grant:
    """What one binding gives: the ``rules`` of its role in ``namespace``, "" for the whole cluster."""

    namespace: str
    rules: tuple[Obj, ...]
    binding: str
    role: str


def rule_allows(rule: Obj, verb: str, group: str, resource: str, name: str = "") -> bool:
    """Return whether a rule allows a verb on a resource (``pods`` or ``pods/log``), on the object ``name`` or, when it is "", on any."""

    def has(values: Iterable[Any], wanted: str) -> bool:
        return any(value in ("*", wanted) for value in values)

    main, _slash, sub = resource.partition("/")
    resources = set(rule.get("resources") or [])
    named = bool(resources & {"*", resource}) or bool(sub and f"*/{sub}" in resources)
    names = rule.get("resourceNames") or []
    return bool(main) and has(rule.get("verbs") or [], verb) and has(rule.get("apiGroups") or [], group) and named and (not names or name in names)


class Rbac:
    """All bindings of a cluster, by subject. The arguments are objects as the API server lists them."""

    def __init__(self, roles: Iterable[Obj], role_bindings: Iterable[Obj], cluster_roles: Iterable[Obj], cluster_role_bindings: Iterable[Obj]) -> None:
        local = {(role["metadata"]["namespace"], role["metadata"]["name"]): tuple(role.get("rules") or []) for role in roles}
        wide = {role["metadata"]["name"]: tuple(role.get("rules") or []) for role in cluster_roles}
        self.of: dict[Subject, list[Grant]] = defaultdict(list)
        self.in_namespace: dict[str, set[Subject]] = defaultdict(set)
        self.bindings = 0
        for binding in [*role_bindings, *cluster_role_bindings]:
            metadata, ref = binding["metadata"], binding["roleRef"]
            namespace = str(metadata.get("namespace") or "")
            kind = "RoleBinding" if namespace else "ClusterRoleBinding"
            rules = local.get((namespace, ref["name"]), ()) if ref["kind"] == "Role" else wide.get(ref["name"], ())
            path = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
            grant = Grant(namespace, rules, f"{kind} {path}", f"{ref['kind']} {ref['name']}")
            self.bindings += 1
            for item in binding.get("subjects") or []:
                subject = subject_of(item, namespace)
                self.of[subject].append(grant)
                if namespace:
                    self.in_namespace[namespace].add(subject)

    def grants(self, subject: Subject, everybody: bool = True) -> list[Grant]:
        """Return what a subject is given: by its name, and as a member of the groups that its kind makes it one of."""
        found = list(self.of.get(subject, []))
        kind, name = subject
        if kind == "ServiceAccount":
            namespace = name.partition("/")[0]
            found += self.of.get(("Group", f"{_ACCOUNTS}{namespace}"), [])
        if everybody:
            found += self.of.get(("Group", "system:authenticated"), [])
            found += self.of.get(("Group", "system:serviceaccounts"), []) if kind == "ServiceAccount" else []
        return found

    def allowed(self, subject: Subject, verb: str, group: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Return whether a subject may do this; ``namespace`` "" is all namespaces, or the resource of a cluster."""
        return any(
            grant.namespace in ("", namespace) and rule_allows(rule, verb, group, resource, name) for grant in self.grants(subject) for rule in grant.rules
        )


def subject_of(item: Obj, namespace: str) -> Subject:
    """Return the subject that a binding in ``namespace`` names; a user that is a service account's becomes that account."""
    kind, name = str(item["kind"]), str(item["name"])
    if kind == "ServiceAccount":
        return kind, f"{item.get('namespace') or namespace}/{name}"
    if kind == "User" and name.startswith("system:serviceaccount:") and name.count(":") == 3:
        return "ServiceAccount", name.removeprefix("system:serviceaccount:").replace(":", "/")
    return kind, name


def rule_words(rules: Sequence[Obj]) -> list[str]:
    """Return what rules allow, as people read it: ``get, list secrets``; questions about oneself and public reads are left out."""
    words = []
    for rule in rules:
        verbs = sorted(str(verb) for verb in rule.get("verbs") or [])
        resources = [
            (str(group), str(resource))
            for group in rule.get("apiGroups") or []
            for resource in rule.get("resources") or []
            if (group, resource) not in _ABOUT_ONESELF
        ]
        if resources and verbs:
            named = [f"{resource}.{group}" if group else resource for group, resource in resources]
            only = f" named {listed([str(name) for name in rule['resourceNames']])}" if rule.get("resourceNames") else ""
            words.append(f"{', '.join(verbs)} {listed(named)}{only}")
        paths = [str(path) for path in rule.get("nonResourceURLs") or []]
        if paths and not set(verbs) <= {"get", "head"}:
            words.append(f"{', '.join(verbs)} {listed(paths)}")
    return words


def findings(
    rbac: Rbac, tenants: Mapping[str, str], accounts: Iterable[Obj], exempt: Iterable[str] = (), shared: Iterable[str] = ()
) -> dict[str, Any]:
    """Return what tenants' identities may do outside of their namespaces, and what accounts that are nobody's may do in them.

    ``tenants`` maps namespaces to tenants; ``accounts`` are ServiceAccount objects; ``exempt`` are users, groups and accounts of the platform itself,
    whose namespaces are ``shared``.
    The result has ``identities``, ``bindings`` (numbers) and ``findings`` (dictionaries with a ``sentence``).
    """
    skipped = {*exempt, *(name for _kind, name in EVERYBODY)}
    homes = _homes(rbac, tenants, accounts, skipped)
    found: list[dict[str, Any]] = []
    for subject, own in sorted(homes.items()):
        own_only = next(iter(own)) if len(own) == 1 else None
        for grant in rbac.of.get(subject, []):
            if own_only is None or grant.namespace not in tenants or tenants[grant.namespace] != own_only:
                found += _finding(subject, sorted(own), grant, tenants)
    for subject in EVERYBODY:
        for grant in rbac.of.get(subject, []):
            found += _finding(subject, [], grant, tenants)
    for subject in sorted(_strangers(rbac, tenants, skipped, {*shared})):
        for grant in rbac.of[subject]:
            if grant.namespace in tenants:
                found += _finding(subject, [tenants[grant.namespace]], grant, tenants)
    return {"identities": len(homes), "bindings": rbac.bindings, "findings": found}


def _homes(rbac: Rbac, tenants: Mapping[str, str], accounts: Iterable[Obj], skipped: set[str]) -> dict[Subject, set[str]]:
    """Return the identities of tenants, each with the tenants that it belongs to: where its account lives, or where it is bound."""
    homes: dict[Subject, set[str]] = defaultdict(set)
    for account in accounts:
        namespace = account["metadata"]["namespace"]
        if namespace in tenants:
            homes["ServiceAccount", f"{namespace}/{account['metadata']['name']}"].add(tenants[namespace])
    for namespace, tenant in tenants.items():
        for kind, name in rbac.in_namespace.get(namespace, ()):
            home = _home(kind, name)
            if home is not None:  # an account, and all accounts of a namespace, belong to where they live
                if home in tenants:
                    homes[kind, name].add(tenants[home])
            elif name not in skipped:
                homes[kind, name].add(tenant)
        homes["Group", f"{_ACCOUNTS}{namespace}"].add(tenant)
    return homes


def _home(kind: str, name: str) -> str | None:
    """Return the namespace in which an account, or all accounts of a group, live; None for people."""
    if kind == "ServiceAccount":
        return name.partition("/")[0]
    return name.removeprefix(_ACCOUNTS) if kind == "Group" and name.startswith(_ACCOUNTS) else None


def _strangers(rbac: Rbac, tenants: Mapping[str, str], skipped: set[str], shared: set[str]) -> set[Subject]:
    """Return the accounts, and groups of them, that are bound in a tenant's namespace and live in one that is neither a tenant's nor the platform's."""
    bound = {subject for namespace in tenants for subject in rbac.in_namespace.get(namespace, ())}
    known = {*tenants, *shared, None}
    return {
        (kind, name)
        for kind, name in bound
        if _home(kind, name) not in known and not {name, f"system:serviceaccount:{name.replace('/', ':')}"} & skipped
    }


def _finding(subject: Subject, own: list[str], grant: Grant, tenants: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the finding that a grant is, [] when it allows nothing that matters."""
    words = rule_words(grant.rules)
    if not words or grant.namespace == _PUBLIC_NAMESPACE:
        return []
    where = f"in namespace {grant.namespace}" if grant.namespace else "in every namespace and at cluster scope"
    many = f", which {plural(len(own), 'tenant')} share," if len(own) > 1 else "" if own else ", whom every pod can be,"
    sentence = f"{subject[0]} {subject[1]}{many} may {'; '.join(words)} {where} ({grant.binding} to {grant.role})"
    target = tenants.get(grant.namespace)
    return [{"tenants": own, "subject": f"{subject[0]} {subject[1]}", "namespace": grant.namespace or None, "target": target, "sentence": sentence}]
