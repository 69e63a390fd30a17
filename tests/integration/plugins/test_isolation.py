"""The isolation report on a real API server: two tenants, a third namespace that is nobody's, and holes opened on purpose."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._isolation_rbac import Rbac
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.modules import isolation_report

from tests.support import modules
from tests.support.waiting import until

from .conftest import Kubectl, Shop

pytestmark = pytest.mark.simulated
ROOT = Path(__file__).resolve().parents[3]
RBAC = "rbac.authorization.k8s.io/v1"
VERBS = ("get", "list", "create", "patch", "delete", "impersonate")


def pod_of(shop: Shop) -> str:
    """Wait for a tenant's pod to have an address; its NAMESPACE/NAME."""

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shop.kubectl.json("pods", "-n", shop.namespace, "-l", "app=booking")["items"]
        return found

    items = until(pods, f"a pod of {shop.namespace} with an address", good=lambda found: found and found[0]["status"].get("podIP"))
    return f"{shop.namespace}/{items[0]['metadata']['name']}"


@pytest.fixture
def neighbours(shops: Callable[[], Shop]) -> tuple[Shop, Shop]:
    """Two tenants that run, each closed in both directions."""
    made = shops(), shops()
    for shop in made:
        shop.deploy(shop.set())
    return made


@pytest.fixture
def report(neighbours: tuple[Shop, Shop]) -> Callable[..., dict[str, Any]]:
    """What concerns the two: other tests' tenants may be in the cluster too."""

    def run(**options: Any) -> dict[str, Any]:
        one, other = neighbours
        found = modules.call(isolation_report, {"kubeconfig": one.kubeconfig, "names": [one.name, other.name], **options})
        assert not found.get("failed"), found
        return found

    return run


def open_to(shop: Shop, name: str, side: str, peer: dict[str, Any]) -> None:
    """Add a policy by which the tenant's booking pods may reach, or be reached by, a peer."""
    rule = {"to" if side == "Egress" else "from": [peer], "ports": [{"protocol": "TCP", "port": 8080}]}
    spec = {"podSelector": {"matchLabels": {"app": "booking"}}, "policyTypes": [side], side.lower(): [rule]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": shop.namespace}, "spec": spec}
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(policy))


def test_a_hole_is_reported_as_the_exact_path(
    neighbours: tuple[Shop, Shop], report: Callable[..., dict[str, Any]], kubectl: Kubectl, unique: Callable[[str], str], tmp_path: Path
) -> None:
    one, other = neighbours
    source, target = pod_of(one), pod_of(other)
    foreign = unique("foreign")
    kubectl("create", "namespace", foreign)
    try:
        kubectl("run", "intruder", "-n", foreign, "--image=shop:1")
        before = one.versions() | other.versions()
        clean = report()
        assert (clean["isolated"], clean["findings"]) == (True, []), clean["findings"]
        assert clean["summary"].startswith("2 tenants, ")
        assert clean["summary"].endswith(" pairs, nobody reaches anybody; the database was not asked")
        assert one.versions() | other.versions() == before

        neighbour = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": other.namespace}}}
        open_to(one, "hole-out", "Egress", neighbour)
        assert report()["isolated"], "half a hole opens nothing"
        open_to(other, "hole-in", "Ingress", {"namespaceSelector": {"matchLabels": {"barberpro.platform/tenant": one.name}}, "podSelector": {}})
        found = report(path=str(tmp_path))
        assert found["findings"] == [
            f"{source} reaches {target} on TCP 8080: egress allowed by {one.namespace}/hole-out, ingress allowed by {other.namespace}/hole-in"
        ]
        assert found["summary"].endswith(" pairs, 1 pair open; the database was not asked")
        assert json.loads(Path(found["files"][0]).read_text())["network"]["paths"][0]["to"]["namespace"] == other.namespace
        kubectl("delete", "networkpolicy", "hole-in", "-n", other.namespace)
        assert report()["isolated"]

        # Nobody's pod: it may connect anywhere, and the tenant lets it in by its address.
        address = kubectl.json("pod", "intruder", "-n", foreign)["status"]["podIP"]
        open_to(other, "by-address", "Ingress", {"ipBlock": {"cidr": f"{address}/32"}})
        assert report()["findings"] == [
            f"{foreign}/intruder reaches {target} on TCP 8080: egress not limited (no policy of {foreign} selects it), "
            f"ingress allowed by {other.namespace}/by-address"
        ]
        assert report(shared_namespaces=[foreign])["isolated"]
    finally:
        kubectl("delete", "namespace", foreign, "--wait=false")


def test_the_playbook_says_so_and_fails(neighbours: tuple[Shop, Shop], kubectl: Kubectl, tmp_path: Path) -> None:
    one, other = neighbours
    pod_of(other)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": {}}, "vars": {"barberpro_kubeconfig": one.kubeconfig}}}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "isolation_report.yml", "-e", f"tenant_name={one.name}"]
    command += ["-e", f"isolation_report_path={tmp_path}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)

    good = run()
    assert good.returncode == 0, good.stdout + good.stderr
    assert "pairs, nobody reaches anybody" in good.stdout
    assert "isolation.html" in good.stdout
    role = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "hole", "namespace": other.namespace}}
    role |= {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}
    role |= {"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": one.namespace}]}
    kubectl("apply", "-f", "-", stdin=json.dumps(role))
    bad = run()
    assert bad.returncode == 2
    assert f"ServiceAccount {one.namespace}/default may get, list, watch " in bad.stdout
    assert f" in namespace {other.namespace} (RoleBinding {other.namespace}/hole to ClusterRole view)" in bad.stdout
    assert "1 right too many" in bad.stdout


def test_the_deployers_role_is_enough(neighbours: tuple[Shop, Shop], kubectl: Kubectl, unique: Callable[[str], str], tmp_path: Path) -> None:
    one, _other = neighbours
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["to_json"] = json.dumps
    template = environment.from_string((ROOT / "roles/platform/templates/deployer.yml.j2").read_text())
    documents = [item for item in yaml.safe_load_all(template.render(platform_deployer_subjects=[])) if item]
    (role,) = (item for item in documents if item["kind"] == "ClusterRole" and item["metadata"]["name"] == "barberpro-deployer")
    name = unique("auditor")
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "barberpro-system"}
    binding = {"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
    kubectl("create", "serviceaccount", name, "-n", "barberpro-system")
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [{**role, "metadata": {"name": name}}, binding]}))
    try:
        raw = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        raw["users"] = [{"name": raw["users"][0]["name"], "user": {"token": kubectl("create", "token", name, "-n", "barberpro-system").strip()}}]
        (tmp_path / "kubeconfig").write_text(json.dumps(raw))
        found = modules.call(isolation_report, {"kubeconfig": str(tmp_path / "kubeconfig"), "names": [one.name]})
        assert found.get("isolated"), found
    finally:
        kubectl("delete", "clusterrole,clusterrolebinding", name)
        kubectl("delete", "serviceaccount", name, "-n", "barberpro-system")


def resources_of(client: Client) -> list[tuple[str, str]]:
    """Every resource and subresource that the server serves, as (group, plural)."""
    groups = client.request("GET", "/apis")["groups"]
    versions = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    found = []
    for path in versions:
        served = client.request("GET", path)
        group = served["groupVersion"].rpartition("/")[0]
        found += [(group, item["name"]) for item in served["resources"]]
    return sorted(set(found))


def test_rbac_is_what_the_servers_access_reviews_say(neighbours: tuple[Shop, Shop], kubectl: Kubectl, client: Client, unique: Callable[[str], str]) -> None:
    """Every resource times verbs, in the own namespace, the neighbour's and the whole cluster, for an account with unusual rules and a person."""
    one, other = neighbours
    name = unique("odd")
    rules = [
        {"apiGroups": ["apps"], "resources": ["*/scale", "deployments"], "verbs": ["patch", "get"]},
        {"apiGroups": ["*"], "resources": ["pods", "leases"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]},
        {"apiGroups": ["batch"], "resources": ["*"], "verbs": ["*"]},
    ]
    account = {"kind": "ServiceAccount", "name": "default", "namespace": one.namespace}
    person = {"kind": "User", "name": name}

    def bound(kind: str, place: dict[str, str], role: tuple[str, str], *subjects: dict[str, str]) -> dict[str, Any]:
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": role[0], "name": role[1]}
        return {"apiVersion": RBAC, "kind": kind, "metadata": {"name": f"{name}-{role[1]}", **place}, "roleRef": ref, "subjects": list(subjects)}

    objects = [
        {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name, "namespace": other.namespace}, "rules": rules},
        bound("RoleBinding", {"namespace": other.namespace}, ("Role", name), account),
        bound("RoleBinding", {"namespace": one.namespace}, ("ClusterRole", "edit"), person),
        bound("ClusterRoleBinding", {}, ("ClusterRole", "system:node-problem-detector"), account, person),
    ]
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        resources = Resources(client)
        ours = Rbac(*(resources.list(RBAC, kind) for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")))
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{one.namespace}", "system:authenticated"]
        identities = {
            ("ServiceAccount", f"{one.namespace}/default"): {"user": f"system:serviceaccount:{one.namespace}:default", "groups": groups},
            ("User", name): {"user": name, "groups": ["system:authenticated"]},
        }
        served = [*resources_of(client), ("", "secrets-that-are-none")]
        asked = list(itertools.product(identities, served, VERBS, (one.namespace, other.namespace, "")))

        def review(item: Any) -> bool:
            subject, (group, resource), verb, namespace = item
            main, _slash, sub = resource.partition("/")
            attributes = {"group": group, "resource": main, "subresource": sub, "verb": verb, "namespace": namespace}
            body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {**identities[subject], "resourceAttributes": attributes}}
            answer = client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body, repeatable=True)
            return bool(answer["status"]["allowed"])

        # The server's cache of roles lags behind what was just written.
        until(lambda: review((("User", name), ("", "configmaps"), "create", one.namespace)), "the binding to take effect")
        theirs = client.map(review, asked)
        wrong = [item for item, allowed in zip(asked, theirs, strict=True) if ours.allowed(item[0], item[2], *item[1], item[3]) is not allowed]
        assert wrong == []
        assert 50 < sum(allowed is True for allowed in theirs) < len(asked) / 2
        one_secret = {"group": "", "resource": "secrets", "verb": "get", "namespace": other.namespace, "name": "one"}
        spec = {**identities["ServiceAccount", f"{one.namespace}/default"], "resourceAttributes": one_secret}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        assert client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)["status"]["allowed"]
        assert ours.allowed(("ServiceAccount", f"{one.namespace}/default"), "get", "", "secrets", other.namespace, "one")
    finally:
        kubectl("delete", "clusterrolebinding", f"{name}-system:node-problem-detector")
