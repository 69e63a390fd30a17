"""What the platform keeps in a tenant's namespace nobody of the tenant changes, whatever RBAC grants; who must change it can."""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources, own_digest

from tests.support.waiting import until

from .baseline import changed, good, named, template
from .conftest import DEPLOYER, IMAGE, NAMESPACES, Guarded, Identity, identity

pytestmark = pytest.mark.simulated
INVENTORY = "may not change or remove it; change the tenant's inventory and deploy it"
LABELS = {"app.kubernetes.io/managed-by": "barberpro.platform", "app.kubernetes.io/name": "booking", "barberpro.platform/revision": "r1"}
FOREIGN = f"docker.io/library/busybox@sha256:{'b' * 64}"


@pytest.fixture(scope="module")
def deployer(shop: Guarded) -> Identity:
    """The deployer, with the rights that its ClusterRole gives."""
    return identity(shop.kubeconfig, DEPLOYER)


@pytest.fixture(scope="module")
def workload(shop: Guarded, deployer: Identity, admin: Resources) -> Ref:
    """A Deployment of the platform, whose pod the cluster's controllers have made by the time it is used; and a pod of the tenant's own."""
    labels = {**LABELS, "barberpro.platform/tenant": shop.name}
    pod = template()
    pod["metadata"]["labels"] = labels
    selector = {"matchLabels": {"app.kubernetes.io/name": "booking", "barberpro.platform/revision": "r1"}}
    obj = named(shop, "apps/v1", "Deployment", "booking-r1", spec={"replicas": 1, "selector": selector, "template": pod})
    obj["metadata"]["labels"] = labels
    assert deployer.create(obj, dry_run=False) == ""
    assert shop.person("owner").create({**good(shop)["pod"], "metadata": {"name": "own", "namespace": shop.namespace}}, dry_run=False) == ""
    pods(shop, admin)
    return Ref.of(obj)


def pods(shop: Guarded, admin: Resources) -> list[Ref]:
    """Return the platform's pods, waiting until there is one."""
    found = until(lambda: admin.list("v1", "Pod", shop.namespace, labels="barberpro.platform/revision=r1"), "the controllers to make a pod")
    return [Ref.of(pod) for pod in found]


def test_three_policies_guard_any_number_of_tenants(tenants: dict[str, Guarded], admin: Resources) -> None:
    ours = "app.kubernetes.io/part-of=barberpro.platform"
    policies = admin.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", labels=ours)
    bindings = admin.list("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", labels=ours)
    names = ["barberpro-namespaces", "barberpro-tenant-owners", "barberpro-tenant-rules"]
    assert [item["metadata"]["name"] for item in policies] == [item["metadata"]["name"] for item in bindings] == names
    assert [item["status"].get("typeChecking", {}).get("expressionWarnings", []) for item in policies] == [[], [], []]


@pytest.mark.parametrize(
    ("version", "kind", "name", "change"),
    [
        ("v1", "ResourceQuota", "tier", {"spec": {"hard": {"pods": "1000"}}}),
        ("v1", "LimitRange", "tier", {"spec": {"limits": []}}),
        ("networking.k8s.io/v1", "NetworkPolicy", "default-deny", {"spec": {"policyTypes": ["Ingress"]}}),
        ("networking.k8s.io/v1", "NetworkPolicy", "allow-metrics", {"spec": {"podSelector": {"matchLabels": {"app": "mine"}}}}),
        ("rbac.authorization.k8s.io/v1", "Role", "viewer", {"rules": []}),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "owner", {"subjects": []}),
        ("v1", "ServiceAccount", "default", {"automountServiceAccountToken": True}),
        ("v1", "ServiceAccount", "booking", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}),
        ("apps/v1", "Deployment", "booking-r1", {"spec": {"replicas": 0}}),
        ("apps/v1", "Deployment", "booking-r1", {"spec": {"template": {"metadata": {"annotations": {"other": "x"}}}}}),
        ("apps/v1", "Deployment", "booking-r1", {"metadata": {"annotations": {"other": "x"}}}),
        ("apps/v1", "Deployment", "booking-r1", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
    ],
)
def test_objects_of_the_platform_stay_as_they_are(
    version: str, kind: str, name: str, change: dict[str, Any], shop: Guarded, stranger: Identity, workload: Ref, deployer: Identity
) -> None:
    ref = Ref(version, kind, shop.namespace, name)
    refusal = f"control ownership: {kind} {shop.namespace}/{name} is labelled app.kubernetes.io/managed-by=barberpro.platform"
    for said in (stranger.patch(ref, change), stranger.delete(ref)):
        assert f"{refusal}, user stranger@{shop.name} {INVENTORY}" in said
    assert "control ownership" not in deployer.patch(ref, change)
    assert deployer.delete(ref) == ""


def test_the_owner_cannot_change_them_either(shop: Guarded, owner: Identity, workload: Ref) -> None:
    for ref in (workload, Ref("networking.k8s.io/v1", "NetworkPolicy", shop.namespace, "default-deny"), Ref("v1", "ServiceAccount", shop.namespace, "booking")):
        assert "control ownership: " in owner.patch(ref, {"metadata": {"annotations": {"a": "b"}}})
        assert "control ownership: " in owner.delete(ref)
    assert owner.delete(Ref("v1", "Pod", shop.namespace, "own")) == ""


def test_all_at_once_is_no_way_round(shop: Guarded, stranger: Identity, admin: Resources, workload: Ref) -> None:
    path = admin.path("networking.k8s.io/v1", "NetworkPolicy", shop.namespace)
    assert "control ownership: " in stranger._asked("DELETE", path)
    assert {item["metadata"]["name"] for item in admin.list("networking.k8s.io/v1", "NetworkPolicy", shop.namespace)} >= {"default-deny", "allow-dns"}


def test_the_deployer_may_make_all_of_it(shop: Guarded, deployer: Identity) -> None:
    # Under other names: who changes nothing of a Role is not asked whether he has what it gives.
    objects = [obj for obj in shop.objects() if obj["kind"] != "Namespace"]
    for obj in objects:
        obj["metadata"]["name"] += "-again"
    assert {str(Ref.of(obj)): said for obj in objects if (said := deployer.apply(obj))} == {}


@pytest.mark.parametrize("role", ["owner", "operator"])
def test_people_restart_what_the_platform_runs(role: str, shop: Guarded, workload: Ref) -> None:
    now = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    assert shop.person(role).patch(workload, {"spec": {"template": {"metadata": {"annotations": now}}}}) == ""
    both = {"metadata": {"annotations": now}, "spec": {"containers": [{"name": "main", "image": IMAGE, "args": ["x"]}]}}
    assert "control ownership: " in shop.person(role).patch(workload, {"spec": {"template": both}})


def test_a_restart_leaves_alone_what_the_next_apply_goes_by(
    shop: Guarded, owner: Identity, deployer: Identity, admin: Resources, kubectl_path: str
) -> None:
    labels = {**LABELS, "barberpro.platform/revision": "r2"}
    obj = named(shop, "apps/v1", "Deployment", "booking-r2", spec={"replicas": 0, "selector": {"matchLabels": labels}, "template": template()})
    obj["metadata"]["labels"] = obj["spec"]["template"]["metadata"]["labels"] = labels
    ref, operator = Ref.of(obj), shop.person("operator")
    deployer.resources.apply(obj)
    try:
        live = admin.get(ref)
        assert live is not None
        # Beside that of the controller, which reports.
        ours = next(entry for entry in live["metadata"]["managedFields"] if entry["operation"] == "Apply")
        assert ours["manager"] == "barberpro.platform"
        restart = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}}}
        forged = {**ours, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        for fields in ([{}], [], [forged], [ours, {**forged, "apiVersion": "apps/v1beta1"}], [{**ours, "manager": "theirs"}]):
            for change in ({"metadata": {"managedFields": fields}}, {"metadata": {"managedFields": fields}, "spec": restart}):
                assert "control ownership: " in operator.patch(ref, change), fields
                assert "control ownership: " in owner.patch(ref, change), fields
        as_operator = [kubectl_path, f"--kubeconfig={shop.kubeconfig}", f"--as=operator@{shop.name}", f"--namespace={shop.namespace}"]
        done = subprocess.run([*as_operator, "rollout", "restart", "deployment/booking-r2"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        restarted = admin.get(ref)
        assert restarted is not None
        assert restarted["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
        assert own_digest(restarted) == own_digest(live)
        assert operator.patch(ref, {"spec": restart}) == ""
    finally:
        admin.delete(ref)


def test_the_owner_scales_what_is_his(shop: Guarded, owner: Identity, workload: Ref, admin: Resources) -> None:
    for kind in ("deployment", "statefulset"):
        obj = changed(good(shop)[kind], "spec.replicas", 0)
        obj["metadata"]["name"] = "scaled"
        assert owner.create(obj, dry_run=False) == ""
        try:
            assert owner.patch(Ref.of(obj), {"spec": {"replicas": 2}}, "scale") == ""
            assert "cannot patch resource" in shop.person("operator").patch(Ref.of(obj), {"spec": {"replicas": 2}}, "scale")
        finally:
            admin.delete(Ref.of(obj))
    said = owner.patch(workload, {"spec": {"replicas": 0}}, "scale")
    assert f"control ownership: deployments {shop.namespace}/booking-r1 is kept by the platform and cannot be scaled by owner@{shop.name}" in said


def test_the_deployer_scales_nothing_outside_of_its_namespaces(shop: Guarded, deployer: Identity, workload: Ref, admin: Resources) -> None:
    # It has the right for the Roles of owners alone.
    obj = changed(good(shop)["deployment"], "spec.replicas", 0)
    obj["metadata"] = {"name": "not-a-tenant-s", "namespace": "default"}
    admin.apply(obj)
    try:
        said = deployer.patch(Ref.of(obj), {"spec": {"replicas": 1}}, "scale")
        assert "control namespaces: the deployer writes only in namespaces of tenants and of the platform, and default is neither" in said
        assert deployer.patch(workload, {"spec": {"replicas": 2}}, "scale") == ""
    finally:
        admin.delete(Ref.of(obj))


def test_subresources_are_no_way_round(shop: Guarded, stranger: Identity, admin: Resources, workload: Ref) -> None:
    pod = pods(shop, admin)[0]
    said = stranger.patch(workload, {"spec": {"replicas": 0}}, "scale")
    assert f"control ownership: deployments {shop.namespace}/booking-r1 is kept by the platform and cannot be scaled by stranger@{shop.name}" in said
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.name, "namespace": shop.namespace}}
    path = admin.path("v1", "Pod", shop.namespace, pod.name)
    assert f"control ownership: pods/eviction of {shop.namespace}/{pod.name} could reach a pod of the platform" in stranger.post(f"{path}/eviction", eviction)
    assert f"control ownership: Pod {shop.namespace}/{pod.name} is labelled" in stranger.patch(pod, {"status": {"phase": "Failed"}}, "status")
    assert "control ownership: " in stranger.patch(pod, {"spec": {"ephemeralContainers": []}, "metadata": {"labels": {"a": "b"}}})
    said = stranger._asked("POST", f"{path}/exec?command=id&container=main&stdout=true")
    assert f"control ownership: pods/exec of {shop.namespace}/{pod.name} could reach a pod of the platform, user stranger@{shop.name} may not ask" in said


@pytest.mark.parametrize(("version", "kind"), [("apps/v1", "DaemonSet"), ("apps/v1", "ReplicaSet"), ("v1", "PodTemplate"), ("v1", "ReplicationController")])
def test_kinds_that_no_role_of_a_tenant_makes_obey_the_rules_of_images(version: str, kind: str, shop: Guarded, stranger: Identity) -> None:
    selector: dict[str, Any] = {"app": "mine"} if version == "v1" else {"matchLabels": {"app": "mine"}}
    body: dict[str, Any] = {"selector": selector, "template": template()}
    obj = named(shop, version, kind, **({"template": template()} if kind == "PodTemplate" else {"spec": body}))
    at = "template" if kind == "PodTemplate" else "spec.template"
    # The quota has no room for a ReplicationController, good or not.
    assert stranger.create(obj) == "" or kind == "ReplicationController"
    for where, wrong in (("containers.0.image", FOREIGN), ("initContainers", [{**template()["spec"]["containers"][0], "name": "first", "image": FOREIGN}])):
        said = stranger.create(changed(obj, f"{at}.spec.{where}", wrong))
        assert f"control images: {kind} {shop.namespace}/mine: image {FOREIGN} " in said


@pytest.mark.parametrize("image", [FOREIGN, IMAGE.replace("@sha256:", ":1@sha1:")])
def test_debug_containers_obey_the_rules_of_images(image: str, shop: Guarded, stranger: Identity, admin: Resources, workload: Ref) -> None:
    container = {**template()["spec"]["containers"][0], "name": "debugger"}
    del container["resources"]
    mine = Ref("v1", "Pod", shop.namespace, "own")
    patch = {"spec": {"ephemeralContainers": [container]}}
    assert stranger.patch(mine, patch, "ephemeralcontainers") == ""
    wrong = copy.deepcopy(patch)
    wrong["spec"]["ephemeralContainers"][0]["image"] = image
    assert f"control images: Pod {shop.namespace}/own: image {image} " in stranger.patch(mine, wrong, "ephemeralcontainers")
    assert "control ownership: " in stranger.patch(pods(shop, admin)[0], patch, "ephemeralcontainers")


@pytest.mark.parametrize(
    ("version", "kind", "body"),
    [
        ("v1", "ResourceQuota", {"spec": {"hard": {"pods": "1"}}}),
        ("v1", "LimitRange", {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1m"}}]}}),
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"spec": {
            "maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "booking-r1"},
        }}),
        ("v1", "Endpoints", {"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}]}),
        ("discovery.k8s.io/v1", "EndpointSlice", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.9.9.9"]}], "ports": [{"port": 80}]}),
        ("policy/v1", "PodDisruptionBudget", {"spec": {"maxUnavailable": 0, "selector": {}}}),
    ],
)
def test_kinds_that_are_not_a_tenant_s(version: str, kind: str, body: dict[str, Any], shop: Guarded, stranger: Identity, owner: Identity) -> None:
    obj = named(shop, version, kind, **body)
    said = stranger.create(obj)
    assert f"control ownership: {kind} {shop.namespace}/mine is of a kind that only the platform and the cluster keep in a tenant's namespace" in said
    assert f'User "owner@{shop.name}" cannot create resource' in owner.create(obj)


@pytest.mark.parametrize(
    ("version", "kind", "spec"),
    [
        ("networking.k8s.io/v1", "Ingress", {
            "rules": [{"host": "neighbour.guarded.test"}], "defaultBackend": {"service": {"name": "x", "port": {"number": 1}}},
        }),
        ("gateway.networking.k8s.io/v1", "Gateway", {
            "gatewayClassName": "envoy", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        }),
        ("gateway.networking.k8s.io/v1", "GRPCRoute", {"hostnames": ["neighbour.guarded.test"]}),
        ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "tenant-other"}], "to": [{"group": "", "kind": "Service"}],
        }),
    ],
)
def test_there_is_no_way_past_the_shared_gateway(version: str, kind: str, spec: dict[str, Any], shop: Guarded, stranger: Identity) -> None:
    said = stranger.create(named(shop, version, kind, spec=spec))
    assert f"control host-names: {kind} {shop.namespace}/mine would lead traffic past the shared gateway; use an HTTPRoute" in said


def test_kinds_without_a_namespace_are_no_tenant_s(tenants: dict[str, Guarded], admin: Resources) -> None:
    # A selector of namespaces does not keep them out of a policy, and this one has none to read.
    spec = {"controllerName": "guarded.test/none"}
    obj = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "guarded"}, "spec": spec}
    assert admin.create(obj, dry_run=True)["kind"] == "GatewayClass"


def test_the_namespace_is_the_platform_s(shop: Guarded, stranger: Identity, owner: Identity, deployer: Identity) -> None:
    ref = Ref("v1", "Namespace", "", shop.namespace)
    changes: tuple[dict[str, Any], ...] = (
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
        {"metadata": {"labels": {"guarded.test/tenant": None}}},
        {"metadata": {"annotations": {"barberpro.platform/host": "neighbour.guarded.test"}}},
    )
    refusal = f"control namespaces: Namespace {shop.namespace} is a tenant's and kept by the platform, user stranger@{shop.name} {INVENTORY}"
    for change in changes:
        assert refusal in stranger.patch(ref, change)
        assert "cannot patch resource" in owner.patch(ref, change)
        assert deployer.patch(ref, change) == ""
    assert refusal in stranger.delete(ref)
    assert deployer.delete(ref) == ""


def test_a_claim_is_not_led_to_an_existing_volume_later(shop: Guarded, owner: Identity, admin: Resources) -> None:
    claim = {**good(shop)["claim"], "metadata": {"name": "later", "namespace": shop.namespace}}
    admin.apply(claim)
    change = {"spec": {"volumeName": "theirs"}}
    assert "control volumes: PersistentVolumeClaim" in owner.patch(Ref.of(claim), change)
    binder = identity(shop.kubeconfig, "system:serviceaccount:kube-system:persistent-volume-binder", "system:serviceaccounts:kube-system")
    assert "control volumes" not in binder.patch(Ref.of(claim), change)


def test_the_deployer_stays_in_its_namespaces(deployer: Identity, shop: Guarded, tenants: dict[str, Guarded]) -> None:
    def config(namespace: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}

    said = deployer.create(config("default"))
    assert "control namespaces: the deployer writes only in namespaces of tenants and of the platform, and default is neither" in said
    assert deployer.create(config(NAMESPACES["preflight"])) == deployer.create(config(tenants["large"].namespace)) == ""
    said = deployer.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    assert "control namespaces: the deployer manages only namespaces whose name begins with tenant-, and other does not" in said


def test_pods_of_the_platform_have_no_keys_of_tenants(shop: Guarded, deployer: Identity) -> None:
    obj = good(shop)["deployment"]
    obj["metadata"]["labels"] = LABELS
    obj["spec"]["template"]["metadata"]["labels"] |= LABELS
    said = deployer.create(obj)
    assert f"control ownership: Deployment {shop.namespace}/mine gives pods of the platform the label app, a key that tenants may use for theirs" in said


def test_administrators_named_in_the_inventory_may_help(shop: Guarded, workload: Ref, admin: Resources) -> None:
    helper = identity(shop.kubeconfig, f"stranger@{shop.name}", "guarded:admins")
    assert helper.patch(workload, {"spec": {"replicas": 2}}) == ""
    assert helper.delete(Ref("v1", "ResourceQuota", shop.namespace, "tier")) == ""
