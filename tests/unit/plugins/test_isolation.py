"""The isolation report: what is open is named exactly, what is not is zero; RBAC; the files; the modules in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _isolation
from ansible_collections.barberpro.platform.plugins.module_utils._isolation_rbac import Rbac, rule_allows
from ansible_collections.barberpro.platform.plugins.modules import isolation_probe, isolation_report

from benchmarks import fleet
from tests.support import modules
from tests.support.api_stand_in import StandIn, secret
from tests.support.loopback import Reply, Request

Objects = dict[str, list[dict[str, Any]]]
OPTIONS: dict[str, Any] = {"names": [], "shared_namespaces": isolation_report.SHARED, "platform_subjects": [], "max_paths": 100}


def report(objects: Objects, **options: Any) -> dict[str, Any]:
    document = _isolation.build(objects, {**OPTIONS, **options}, {})
    _isolation.finish(document, {})
    return document


def hole(namespace: str, side: str, peer: str, port: int | None = 5432) -> dict[str, Any]:
    """A policy that opens all pods of a namespace to (or from) another namespace."""
    rule: dict[str, Any] = {{"Ingress": "from", "Egress": "to"}[side]: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": peer}}}]}
    if port:
        rule["ports"] = [{"port": port}]
    spec = {"podSelector": {"matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "In", "values": ["booking"]}]}, "policyTypes": [side]}
    return {"metadata": {"namespace": namespace, "name": f"hole-{side.lower()}"}, "spec": {**spec, side.lower(): [rule]}}


A, B, C = (f"tenant-shop-000{number}" for number in range(3))


def test_nobody_reaches_anybody_by_the_policies_of_the_role() -> None:
    found = report(fleet.objects(3))
    assert found["summary"] == "3 tenants, 6 pairs, nobody reaches anybody; the database was not asked"
    assert (found["isolated"], found["findings"]) == (True, [])
    assert found["network"]["shared"] == [
        {"namespace": "barberpro-data", "direction": "from tenants", "tenants": 3, "ports": ["TCP 5432"]},
        {"namespace": "barberpro-gateway", "direction": "to tenants", "tenants": 3, "ports": ["TCP 8080"]},
        {"namespace": "barberpro-monitoring", "direction": "to tenants", "tenants": 3, "ports": ["TCP 9090"]},
        {"namespace": "kube-system", "direction": "from tenants", "tenants": 3, "ports": ["TCP 53", "UDP 53"]},
    ]
    assert found["network"]["outside"] == []


def test_half_a_hole_opens_nothing_and_both_halves_are_the_exact_path() -> None:
    objects = fleet.objects(3)
    objects["policies"].append(hole(A, "Egress", B))
    assert report(objects)["isolated"]
    objects["policies"].append(hole(B, "Ingress", A))
    found = report(objects)
    assert found["summary"] == "3 tenants, 6 pairs, 1 pair open; the database was not asked"
    assert found["findings"] == [
        f"{A}/booking-r1-0 reaches {B}/booking-r1-0 on TCP 5432: egress allowed by {A}/hole-egress, ingress allowed by {B}/hole-ingress"
    ]
    (path,) = found["network"]["paths"]
    assert path["from"] == {"tenant": "shop-0000", "namespace": A, "pod": "booking-r1-0", "pods": 1}
    assert (path["to"]["tenant"], path["ports"], path["egress"], path["ingress"]) == ("shop-0001", ["TCP 5432"], [f"{A}/hole-egress"], [f"{B}/hole-ingress"])


def test_only_pairs_of_the_named_tenant() -> None:
    objects = fleet.objects(3)
    objects["policies"] += [hole(A, "Egress", B), hole(B, "Ingress", A)]
    assert report(objects, names=["shop-0002"])["summary"] == "1 tenant, 4 pairs, nobody reaches anybody; the database was not asked"
    assert report(objects, names=["shop-0001"])["network"]["open_pairs"] == 1


def test_a_namespace_that_is_no_tenants_counts_and_the_platforms_are_listed() -> None:
    objects = fleet.objects(2)
    objects["namespaces"].append(fleet.namespace("foreign"))
    objects["pods"].append({"metadata": {"namespace": "foreign", "name": "intruder", "labels": {}}, "spec": {"containers": []}})
    assert report(objects)["isolated"]
    objects["policies"].append(hole(A, "Ingress", "foreign", port=None))
    found = report(objects)
    assert found["findings"] == [
        f"foreign/intruder reaches {A}/booking-r1-0 on all ports: egress not limited (no policy of foreign selects it), ingress allowed by {A}/hole-ingress"
    ]
    assert found["network"]["paths"][0]["from"]["tenant"] is None
    listed = report(objects, shared_namespaces=[*OPTIONS["shared_namespaces"], "foreign"])
    assert listed["isolated"]
    assert {"namespace": "foreign", "direction": "to tenants", "tenants": 1, "ports": ["all ports"]} in listed["network"]["shared"]


def test_a_foreign_namespace_that_is_named_like_a_tenant_is_not_taken_for_it() -> None:
    objects = fleet.objects(2)
    objects["namespaces"].append(fleet.namespace("shop-0000"))
    objects["pods"].append({"metadata": {"namespace": "shop-0000", "name": "old", "labels": {}}, "spec": {"containers": []}})
    assert report(objects)["isolated"]
    objects["policies"].append(hole(A, "Ingress", "shop-0000"))
    way = f"shop-0000/old reaches {A}/booking-r1-0 on TCP 5432: egress not limited (no policy of shop-0000 selects it), ingress allowed by {A}/hole-ingress"
    for asked in ([], ["shop-0000"]):
        found = report(objects, names=asked)
        assert (found["isolated"], found["findings"]) == (False, [way])
        ((source, target),) = [(path["from"]["tenant"], path["to"]["tenant"]) for path in found["network"]["paths"]]
        assert (source, target) == (None, "shop-0000")
    # A report about this tenant alone counts its own ways too, not only those of its namesake.
    objects["policies"] = []
    assert report(objects, names=["shop-0000"])["network"]["open_pairs"] == 4


def test_a_policy_of_the_tenants_own_that_lets_the_gateway_in_opens_no_pair() -> None:
    objects = fleet.objects(3)
    own = hole(A, "Ingress", "barberpro-gateway", 8080)
    own["spec"]["podSelector"] = {"matchLabels": {"app": "site"}}
    objects["policies"].append(own)
    objects["pods"].append({"metadata": {"namespace": A, "name": "site", "labels": {"app": "site"}}, "spec": {}})
    found = report(objects)
    assert (found["isolated"], found["findings"]) == (True, [])
    assert {"namespace": "barberpro-gateway", "direction": "to tenants", "tenants": 3, "ports": ["TCP 8080"]} in found["network"]["shared"]


def test_a_namespace_without_default_deny_is_open_to_any_pod() -> None:
    """Also where nothing runs: whoever starts a pod there is reached."""
    objects = fleet.objects(2)
    objects["pods"] = []
    objects["policies"] = []
    found = report(objects)
    assert found["network"]["without_pods"] == ["shop-0000", "shop-0001"]
    assert found["findings"][0] == (
        f"{A}/(any other pod) reaches {B}/(any other pod) on all ports: egress not limited (no policy of {A} selects it), "
        f"ingress not limited (no policy of {B} selects it)"
    )
    assert found["network"]["outside"] == [
        {"cidr": "0.0.0.0/0, ::/0", "except": [], "ports": ["all ports"], "tenants": 2, "tenant": "shop-0000", "policy": None}
    ]


def test_a_thousand_tenants_without_policies() -> None:
    objects = fleet.objects(1000)
    objects["policies"] = []
    found = report(objects, max_paths=5)
    assert found["summary"] == "1000 tenants, 999000 pairs, 999000 pairs open; the database was not asked"
    assert (len(found["findings"]), found["network"]["complete"], found["isolated"]) == (5, False, False)


def test_a_pod_with_its_nodes_network_and_one_that_has_ended() -> None:
    objects = fleet.objects(2)
    objects["pods"][4]["spec"]["hostNetwork"] = True
    objects["pods"].append({"metadata": {"namespace": B, "name": "done", "labels": {}}, "status": {"phase": "Succeeded"}})
    found = report(objects)
    assert found["findings"] == [f"{A}/booking-r1-0 has its node's network, which no policy governs"]
    assert found["summary"] == "2 tenants, 2 pairs, no path open, 1 pod outside of all policies; the database was not asked"
    assert report(objects, names=["shop-0001"])["isolated"]


def test_addresses_outside_are_said_with_who_may() -> None:
    objects = fleet.objects(2)
    block = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 443}, {"port": "web"}]}
    objects["policies"].append({"metadata": {"namespace": A, "name": "out"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [block, {}]}})
    assert report(objects)["network"]["outside"] == [
        {"cidr": "0.0.0.0/0, ::/0", "except": [], "ports": ["all ports"], "tenants": 1, "tenant": "shop-0000", "policy": f"{A}/out"},
        {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"], "ports": ["TCP 443", "TCP web"], "tenants": 1, "tenant": "shop-0000", "policy": f"{A}/out"},
    ]


def test_a_quota_that_was_got_past_is_named_with_its_numbers() -> None:
    objects = fleet.objects(2)
    quota = objects["quotas"][0]
    quota["status"]["used"] = {"pods": "20", "limits.memory": "4096Mi"}
    assert report(objects)["isolated"]
    quota["status"]["used"] = {"pods": "21", "limits.memory": "4097Mi"}
    found = report(objects)
    assert found["findings"] == [f"ResourceQuota {A}/tier: limits.memory: 4097Mi in use, and 4Gi are allowed; pods: 21 in use, and 20 are allowed"]
    assert (found["isolated"], found["summary"]) == (False, "2 tenants, 2 pairs, no path open, 1 quota exceeded; the database was not asked")
    assert report(objects, names=["shop-0001"])["isolated"]


def bind(objects: Objects, namespace: str, subject: dict[str, Any], *, cluster: bool = False, rules: list[dict[str, Any]] | None = None) -> None:
    """Bind a subject to a role of its own, in a namespace or for the whole cluster."""
    kind, place = ("ClusterRole", {}) if cluster else ("Role", {"namespace": namespace})
    rules = rules or [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    objects["cluster_roles" if cluster else "roles"].append({"metadata": {**place, "name": "reader"}, "rules": rules})
    binding = {"metadata": {**place, "name": "bound"}, "roleRef": {"kind": kind, "name": "reader"}, "subjects": [subject]}
    objects["cluster_role_bindings" if cluster else "role_bindings"].append(binding)


ACCOUNT = {"kind": "ServiceAccount", "namespace": A, "name": "booking"}
SELF = {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"]}


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (ACCOUNT, f"ServiceAccount {A}/booking may get, list secrets in namespace {B} (RoleBinding {B}/bound to Role reader)"),
        ({"kind": "User", "name": f"system:serviceaccount:{A}:booking"}, f"ServiceAccount {A}/booking may get, list secrets in namespace {B} ("),
        ({"kind": "Group", "name": f"system:serviceaccounts:{A}"}, f"Group system:serviceaccounts:{A} may get, list secrets in namespace {B} ("),
        ({"kind": "Group", "name": "system:serviceaccounts"}, f"Group system:serviceaccounts, whom every pod can be, may get, list secrets in namespace {B} ("),
        (
            {"kind": "Group", "name": "barberpro:tenant:shop-0000:viewers"},
            "Group barberpro:tenant:shop-0000:viewers, which 2 tenants share, may get, list, watch pods, services in namespace",
        ),
    ],
)
def test_a_right_in_another_namespace_is_named(subject: dict[str, Any], words: str) -> None:
    objects = fleet.objects(3)
    bind(objects, B, subject)
    found = report(objects)
    assert found["findings"][0].startswith(words)
    assert found["summary"].startswith("3 tenants, 6 pairs, no path open, ")
    everybody = "every pod" in words
    assert report(objects, names=["shop-0002"])["isolated"] is not everybody


def test_a_right_in_the_whole_cluster_is_named() -> None:
    objects = fleet.objects(2)
    named = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"], "resourceNames": ["x"]}
    bind(objects, "", ACCOUNT, cluster=True, rules=[named, {"nonResourceURLs": ["/metrics"], "verbs": ["post"]}])
    assert report(objects)["findings"] == [
        f"ServiceAccount {A}/booking may * deployments.apps named x; post /metrics in every namespace and at cluster scope "
        "(ClusterRoleBinding bound to ClusterRole reader)"
    ]
    assert report(objects)["summary"] == "2 tenants, 2 pairs, no path open, 1 right too many; the database was not asked"


@pytest.mark.parametrize(
    ("namespace", "subject", "cluster", "rules"),
    [
        (A, ACCOUNT, False, None),  # at home
        (A, {"kind": "ServiceAccount", "namespace": "barberpro-monitoring", "name": "prometheus"}, False, None),  # the platform's own
        (B, {"kind": "User", "name": "operator"}, False, None),  # a person of that tenant alone
        ("", {"kind": "Group", "name": "system:authenticated"}, True, [SELF, {"nonResourceURLs": ["/healthz"], "verbs": ["get"]}]),
        ("", ACCOUNT, True, []),
        ("kube-public", {"kind": "User", "name": "system:anonymous"}, False, None),
        ("", {"kind": "User", "name": "administrator"}, True, None),  # bound in no tenant's namespace
    ],
)
def test_what_is_no_finding(namespace: str, subject: dict[str, Any], cluster: bool, rules: list[dict[str, Any]] | None) -> None:
    objects = fleet.objects(2)
    bind(objects, namespace, subject, cluster=cluster, rules=rules if rules != [] else [SELF])
    assert report(objects)["findings"] == []


@pytest.mark.parametrize(
    ("subject", "words", "exempt"),
    [
        ({"kind": "ServiceAccount", "namespace": "legacy", "name": "default"}, "ServiceAccount legacy/default", "legacy/default"),
        ({"kind": "User", "name": "system:serviceaccount:legacy:default"}, "ServiceAccount legacy/default", "system:serviceaccount:legacy:default"),
        ({"kind": "Group", "name": "system:serviceaccounts:legacy"}, "Group system:serviceaccounts:legacy", "system:serviceaccounts:legacy"),
    ],
)
def test_an_account_that_is_nobodys_is_named_where_it_has_rights_in_a_tenants_namespace(subject: dict[str, Any], words: str, exempt: str) -> None:
    objects = fleet.objects(3)
    bind(objects, B, subject)
    found = report(objects)
    assert found["findings"] == [f"{words} may get, list secrets in namespace {B} (RoleBinding {B}/bound to Role reader)"]
    assert report(objects, names=["shop-0001"])["findings"] == found["findings"]
    assert report(objects, names=["shop-0002"])["isolated"]
    assert report(objects, platform_subjects=[exempt])["isolated"]
    assert report(objects, shared_namespaces=[*OPTIONS["shared_namespaces"], "legacy"])["isolated"]


def test_an_operator_of_the_platform_is_exempt() -> None:
    objects = fleet.objects(2)
    for space in (A, B):
        bind(objects, space, {"kind": "Group", "name": "barberpro:operators"})
    assert len(report(objects)["rbac"]["findings"]) == 2
    assert report(objects, platform_subjects=["barberpro:operators"])["isolated"]


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("get", "", "pods"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("get", "", "pods/log"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, ("get", "apps", "pods"), False),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, ("patch", "apps", "deployments/scale"), True),
        ({"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]}, ("update", "apps", "deployments/scale"), True),
        ({"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]}, ("update", "apps", "deployments"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}, ("get", "", "secrets", "a"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}, ("get", "", "secrets"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/x"]}, ("get", "", "pods"), False),
    ],
)
def test_what_a_rule_allows(rule: dict[str, Any], asked: tuple[str, ...], allowed: bool) -> None:
    assert rule_allows(rule, *asked) is allowed


def test_a_binding_to_a_role_that_is_not_there_gives_nothing() -> None:
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [ACCOUNT]}
    assert not Rbac([], [], [], [binding]).allowed(("ServiceAccount", f"{A}/booking"), "get", "", "pods", A)


PATHS = {
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "accounts": "/api/v1/serviceaccounts",
    "quotas": "/api/v1/resourcequotas",
    "nodes": "/api/v1/nodes",
    **{kind: f"/apis/rbac.authorization.k8s.io/v1/{kind.replace('_', '')}" for kind in ("roles", "role_bindings", "cluster_roles", "cluster_role_bindings")},
}


@pytest.fixture
def call(api: StandIn) -> Callable[..., dict[str, Any]]:
    """Run the module against a cluster with two tenants that holds these objects."""
    objects = fleet.objects(2)

    def run(more: Objects | None = None, *, check: bool = False, **options: Any) -> dict[str, Any]:
        for kind, path in PATHS.items():
            api.items(path, *objects[kind], *(more or {}).get(kind, []))
        return modules.call(isolation_report, {"kubeconfig": api.kubeconfig, **options}, check=check)

    return run


def test_the_module_reads_and_writes_files(call: Callable[..., dict[str, Any]], api: StandIn, tmp_path: Path) -> None:
    found = call(path=str(tmp_path))
    assert found["summary"] == "2 tenants, 2 pairs, nobody reaches anybody; the database was not asked"
    assert (found["changed"], found["isolated"], found["report"]["sql"]) == (False, True, None)
    assert {request.method for request in api.log} == {"GET"}
    document, page = (Path(name).read_text() for name in found["files"])
    assert json.loads(document) == found["report"]
    assert "<h1>2 tenants, 2 pairs, nobody reaches anybody; the database was not asked</h1>" in page
    assert "barberpro-gateway" in page
    opened = call({"policies": [hole(A, "Egress", B), hole(B, "Ingress", A)]}, path=str(tmp_path), max_paths=0)
    assert (opened["isolated"], opened["findings"], opened["summary"]) == (False, [], "2 tenants, 2 pairs, 1 pair open; the database was not asked")
    assert "There are more open paths" in Path(opened["files"][1]).read_text()
    assert "files" not in call(path=str(tmp_path), check=True)


def test_the_module_names_what_is_not_there(call: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    assert call(names=["nobody"])["msg"].startswith("tenant nobody has no namespace in this cluster; see the tenants with status.yml")
    (tmp_path / "isolation").write_text("a file")
    assert call(path=str(tmp_path))["msg"].startswith("the isolation report cannot be written: ")


def test_the_proxies_of_an_existing_gateway_are_the_platforms(call: Callable[..., dict[str, Any]], api: StandIn) -> None:
    proxies: Objects = {
        "namespaces": [fleet.namespace("kong")],
        "pods": [{"metadata": {"namespace": "kong", "name": "proxy", "labels": {}}, "spec": {"containers": []}}],
        "policies": [hole(A, "Ingress", "kong", port=8080)],
    }
    assert not call(proxies)["isolated"]
    facts = json.dumps({"gateway_namespace": "barberpro-gateway", "gateway_proxy_namespace": "kong"})
    api.answers["GET /api/v1/namespaces/barberpro-system/secrets/barberpro-platform"] = secret("barberpro-system", "barberpro-platform", facts=facts)
    found = call(proxies, shared_namespaces=isolation_report.SHARED)
    assert found["isolated"], found["findings"]
    assert {"namespace": "kong", "direction": "to tenants", "tenants": 1, "ports": ["TCP 8080"]} in found["report"]["network"]["shared"]


def test_a_cluster_without_tenants_is_said(api: StandIn) -> None:
    for path in PATHS.values():
        api.items(path)
    found = modules.call(isolation_report, {"kubeconfig": api.kubeconfig})
    assert found["warnings"] == ["there are no tenants in this cluster: no namespace carries the label barberpro.platform/tenant"]


PROBE = {"namespace": "tenant-x", "image": "registry/booking:1", "labels": {"app": "booking"}, "open": ["db:5432"], "closed": ["other:8080"]}


def test_the_probe_is_the_check_of_a_deploy(api: StandIn) -> None:
    pods = "/api/v1/namespaces/tenant-x/pods"
    ended = {"phase": "Succeeded", "containerStatuses": [{"name": "probe", "state": {"terminated": {"exitCode": 0}}}]}
    seen = {"db:5432": "open", "other:8080": "closed"}
    gone: list[str] = []

    def create(request: Request) -> Reply:
        path = f"{pods}/{request.body['metadata']['name']}"
        api.answers[f"GET {path}"] = {**request.body, "status": ended}
        lines = [json.dumps({"target": name, "actual": actual, "ok": True, "reason": "why"}) for name, actual in seen.items()]
        api.answers[f"GET {path}/log"] = Reply(200, "\n".join(lines))
        api.answers[f"DELETE {path}"] = lambda request: gone.append(request.path) or Reply(200, {})
        return Reply(201, request.body)

    api.answers[f"POST {pods}"] = create
    asked = {"kubeconfig": api.kubeconfig, **PROBE}
    good = modules.call(isolation_probe, asked)
    assert (good["changed"], good["outcome"], good["evidence"]) == (False, "passed", "1 target open and 1 target closed as declared, tried from a pod")
    seen["other:8080"] = "open"
    bad = modules.call(isolation_probe, asked)
    assert bad["failed"]
    assert bad["outcome"] == "failed"
    assert bad["msg"].startswith("a pod of tenant-x reaches other:8080, which must be closed; compare the tenant's network policies")
    assert len(gone) == 2
    checked = modules.call(isolation_probe, asked, check=True)
    assert (checked["outcome"], checked["evidence"], len(gone)) == ("skipped", "check mode", 2)
