"""Checks of the cluster, the platform, permissions, names, the plan, capacity."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _checks_capacity
from ansible_collections.barberpro.platform.plugins.module_utils._checks_cluster import version_tuple
from ansible_collections.barberpro.platform.plugins.module_utils._claims import claim_of

from tests.support.api_stand_in import StandIn, secret
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
CRD = "/apis/apiextensions.k8s.io/v1"
GATEWAY = "/apis/gateway.networking.k8s.io/v1"
SAR = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
WHO = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews"


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status}]}}


def test_cluster(api: StandIn, check: Check) -> None:
    api.answers["GET /version"] = {"gitVersion": "v1.34.2+k3s1"}
    assert check("cluster").startswith("passed: Kubernetes v1.34.2+k3s1 at http://127.0.0.1:")
    api.answers["GET /version"] = {"gitVersion": "v1.32.9"}
    assert "Kubernetes v1.32.9 at http://" in check("cluster")
    assert check("cluster").endswith("is not supported, 1.33 to 1.35 are; upgrade the cluster, or use the release of this collection made for it")
    assert check("cluster", minimum="1.30").startswith("passed")
    assert version_tuple("v1.35.4-rc.1") == (1, 35, 4)


def test_platform(api: StandIn, check: Check) -> None:
    missing = "no platform is installed in this cluster: Secret barberpro-system/barberpro-platform does not exist"
    assert check("platform") == f"failed: {missing}; run deploy_platform.yml with an administrator's kubeconfig"
    api.answers["GET /api/v1/namespaces/barberpro-system/secrets/barberpro-platform"] = secret("barberpro-system", "barberpro-platform", version="0.2.0")
    assert check("platform") == "passed: platform 0.2.0"
    assert "the platform has version 0.2.0, 0.10.0 is needed" in check("platform", version="0.10.0")
    discovered = {"resources": [{"kind": "CustomResourceDefinition", "name": "customresourcedefinitions", "namespaced": False}]}
    api.answers[f"GET {CRD}"] = discovered
    assert "CustomResourceDefinition x.y is not installed" in check("platform", crds=["x.y"])
    api.answers[f"GET {CRD}/customresourcedefinitions/x.y"] = condition("Established", "False")
    assert "CustomResourceDefinition x.y is not established" in check("platform", crds=["x.y"])
    api.answers[f"GET {CRD}/customresourcedefinitions/x.y"] = condition("Established")
    assert "Deployment a/b does not exist; see kubectl -n a describe deployment b" in check("platform", deployments=["a/b"])
    api.answers["GET /apis/apps/v1/namespaces/a/deployments/b"] = condition("Available")
    api.answers[f"GET {GATEWAY}"] = {"resources": [{"kind": "Gateway", "name": "gateways", "namespaced": True}]}
    assert "Gateway g/main does not exist" in check("platform", gateway="g/main")
    api.answers[f"GET {GATEWAY}/namespaces/g/gateways/main"] = condition("Programmed", "False")
    assert "Gateway g/main is not programmed" in check("platform", gateway="g/main")
    api.answers[f"GET {GATEWAY}/namespaces/g/gateways/main"] = condition("Programmed")
    found = check("platform", gateway="g/main", crds=["x.y"], deployments=["a/b"], version="0.1.9")
    assert found == "passed: platform 0.2.0, 1 custom resource established, 1 controller available, gateway g/main programmed"


def test_access(api: StandIn, check: Check) -> None:
    asked = []

    def review(request: Request) -> dict[str, Any]:
        attributes = request.body["spec"]["resourceAttributes"]
        asked.append(attributes)
        return {"status": {"allowed": attributes["verb"] != "delete"}}

    api.answers[SAR] = review
    api.answers[RULES] = {"status": {"incomplete": True}}
    api.answers[WHO] = {"status": {"userInfo": {"username": "barberpro-deployer"}}}
    rules = [
        {"group": "apps", "resource": "deployments", "verbs": ["get", "patch"], "namespace": "tenant-x"},
        {"resource": "pods/portforward", "verbs": ["create"], "name": "p"},
    ]
    assert check("access", rules=rules) == "passed: user barberpro-deployer may do all 3 things asked"
    assert {"group": "", "resource": "pods", "subresource": "portforward", "verb": "create", "name": "p"} in asked
    rules[0]["verbs"] = ["delete"]
    assert check("access", rules=rules) == (
        "failed: user barberpro-deployer may not delete deployments.apps in tenant-x; "
        "use the deployer's kubeconfig, or run deploy_platform.yml, which installs its ClusterRole"
    )
    assert check("access", rules=[{"resource": "pods"}]).startswith("failed: access: rules name no verb")
    # What the rules of the namespace grant is not asked again; what they do not, or only for other names, is.
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    for granted, enough in (({}, True), ({"resourceNames": ["other"]}, False), ({"verbs": ["get"]}, False), ({"apiGroups": [""]}, False)):
        api.answers[RULES] = {"status": {"resourceRules": [{**everything, **granted}]}}
        found = check("access", rules=rules)
        assert found.startswith("passed" if enough else "failed: user barberpro-deployer may not delete deployments.apps in tenant-x"), granted
    api.answers[RULES] = Reply(403, {"message": "no rules for you"})
    assert "no rules for you" in check("access", rules=rules)
    api.answers[RULES] = {"status": {}}
    api.answers[SAR] = Reply(403, {"message": "no reviews for you"})
    assert "no reviews for you" in check("access", rules=rules)


def test_name_free(api: StandIn, check: Check) -> None:
    asked = {"namespace": "tenant-x", "host": "X.barberpro.test.", "tenant": "x"}
    assert check("name_free", **asked) == "passed: host x.barberpro.test is free, namespace tenant-x is free"
    namespace = {"metadata": {"name": "tenant-x", "labels": {"barberpro.platform/tenant": "x"}}}
    api.answers["GET /api/v1/namespaces/tenant-x"] = namespace
    assert check("name_free", **asked) == "passed: host x.barberpro.test is ours, namespace tenant-x is ours"
    route = {"metadata": {"namespace": "tenant-y", "name": "main", "labels": {"barberpro.platform/tenant": "y"}}, "spec": {"hostnames": ["x.barberpro.test"]}}
    api.items(f"{GATEWAY}/httproutes", route)
    taken = "failed: host x.barberpro.test is taken by HTTPRoute tenant-y/main of tenant y"
    step = "; choose another host name, or have that route changed"
    assert check("name_free", **asked) == taken + step
    # What is left of whoever had the name before may name more than the host itself.
    for name in ("www.X.barberpro.test", "*.x.barberpro.test"):
        route["spec"]["hostnames"] = ["else.test", name]
        assert check("name_free", **asked) == f"{taken}, which names {name.lower()}{step}"
    route["spec"]["hostnames"] = ["notx.barberpro.test", "barberpro.test"]
    assert check("name_free", **asked) == "passed: host x.barberpro.test is ours, namespace tenant-x is ours"
    claim = {"metadata": {"name": "host"}, "data": {"host": "x.barberpro.test", "tenant": "y"}}
    api.answers[f"GET /api/v1/namespaces/barberpro-system/configmaps/{claim_of('x.barberpro.test').name}"] = claim
    claimed = "failed: host x.barberpro.test is taken: tenant y has claimed it; choose another host name, or remove that tenant"
    assert check("name_free", **asked) == claimed
    namespace["metadata"]["labels"] = {"barberpro.platform/tenant": "z"}
    assert "Namespace tenant-x exists and belongs to tenant z; choose another tenant name" in check("name_free", **asked)
    namespace["metadata"]["labels"] = {}
    assert "Namespace tenant-x exists and is not one of ours" in check("name_free", **asked)
    namespace["metadata"] = {"name": "tenant-x", "labels": {"barberpro.platform/tenant": "x"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert "Namespace tenant-x is being deleted; wait until it is gone" in check("name_free", **asked)


def test_plan(check: Check) -> None:
    changes = [{"object": "a", "action": "created"}, {"object": "b", "action": "created"}, {"object": "c", "action": "unchanged"}]
    found = check("plan", plan={"revision": "r4", "current": 3, "changed": True, "changes": changes})
    assert found == "passed: revision r4 after r3: 2 created, 1 unchanged; the server accepts every object"
    found = check("plan", plan={"revision": "r3", "current": 3, "changed": False, "changes": changes[2:]})
    assert found == "passed: revision r3 stands, nothing to change (1 unchanged)"
    assert check("plan", plan={"failed": True, "msg": "Deployment a/b: refused"}) == "failed: Deployment a/b: refused"


def pod(name: str, cpu: str, node: str = "n1", revision: str = "r1", **more: Any) -> dict[str, Any]:
    container = {"resources": {"requests": {"cpu": cpu, "memory": "100Mi"}, "limits": {"cpu": "1"}}}
    return {
        "metadata": {"name": name, "namespace": "tenant-x", "labels": {"barberpro.platform/revision": revision}},
        "spec": {"nodeName": node, "containers": [container], **more},
        "status": {"phase": "Running"},
    }


def node(name: str, cpu: str = "2", **spec: Any) -> dict[str, Any]:
    status = {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


@pytest.fixture
def filled(api: StandIn) -> StandIn:
    """Two nodes of which one repels pods, and one running pod."""
    api.answers["GET /api/v1"] = {"resources": [{"kind": "Node", "name": "nodes", "namespaced": False}]}
    nodes = [node("n1"), node("n2", taints=[{"effect": "NoSchedule"}]), node("n3", unschedulable=True)]
    api.answers["GET /api/v1/nodes"] = {"items": nodes}
    api.items("/api/v1/pods", pod("a", "500m"), {**pod("done", "9"), "status": {"phase": "Succeeded"}})
    api.items("/api/v1/namespaces/tenant-x/resourcequotas")
    return api


def test_capacity(filled: StandIn, check: Check) -> None:
    asked = {"namespace": "tenant-x", "requests": {"cpu": "1", "memory": "100Mi", "pods": 2}, "limits": {"cpu": "2"}}
    assert check("capacity", **asked) == "passed: asks 1 CPU and 100Mi; 1 node with 1500m CPU and 924Mi free; no quota"
    quota = {"requests.cpu": "2", "limits.cpu": "4000m", "memory": "1Gi"}
    assert check("capacity", **asked, quota=quota).endswith("quota requests.cpu at 1500m of 2")
    assert check("capacity", **asked, quota={"requests.cpu": "1400m"}) == (
        "failed: quota of tenant-x: requests.cpu: this deploy adds 1 to 500m in use, and 1400m are allowed; "
        "choose a larger tier or a smaller market size, or remove what the tenant does not need"
    )
    # The pods of the revision run already: they are not counted twice.
    assert check("capacity", **asked, quota={"requests.cpu": "1400m"}, revision="r1").startswith("passed")
    too_much = {**asked, "requests": {"cpu": "1600m"}}
    assert "nodes: cpu: this deploy needs 1600m, and 1500m are free on 1 node; add a node" in check("capacity", **too_much)
    assert "nodes: the largest pod needs 1800m CPU and 0, and no single node has that free" in check("capacity", **asked, largest={"cpu": "1800m"})
    # The disk counts where the node says how much it has.
    asked_disk = {"namespace": "tenant-x", "requests": {"cpu": "1", "ephemeral-storage": "3Gi"}}
    assert check("capacity", **asked_disk).startswith("passed")
    small = node("n1")
    small["status"]["allocatable"]["ephemeral-storage"] = "2Gi"
    filled.answers["GET /api/v1/nodes"] = {"items": [small]}
    assert "nodes: ephemeral-storage: this deploy needs 3Gi, and 2Gi are free on 1 node; add a node" in check("capacity", **asked_disk)
    said = check("capacity", **asked, largest={"cpu": "1", "ephemeral-storage": "4Gi"})
    assert "nodes: the largest pod needs 1 CPU and 0 and 4Gi of disk, and no single node has that free" in said
    assert "capacity: requests.cpu: 'lots' is not a quantity; write it as" in check("capacity", namespace="tenant-x", requests={"cpu": "lots"})
    filled.answers["GET /api/v1/nodes"] = {"items": []}
    assert "no node is ready and schedulable; see kubectl get nodes" in check("capacity", **asked)


def test_where_nodes_come_by_themselves_only_the_quota_refuses(filled: StandIn, check: Check) -> None:
    asked = {"namespace": "tenant-x", "requests": {"cpu": "1600m", "memory": "100Mi"}, "node_timeout": 240}
    assert check("capacity", **asked) == (
        "passed: asks 1600m CPU and 100Mi; 1 node with 1500m CPU and 924Mi free "
        "(nodes: cpu: this deploy needs 1600m, and 1500m are free on 1 node: a node has to come within 240 s); no quota"
    )
    assert check("capacity", **asked, quota={"requests.cpu": "1400m"}).startswith("failed: quota of tenant-x: requests.cpu")
    filled.answers["GET /api/v1/nodes"] = {"items": []}
    assert "0 nodes with 0 CPU and 0 free (no node is ready and schedulable: a node has to come within 240 s)" in check("capacity", **asked)
    # The time that a pod without a node has everywhere is no sign of nodes that come.
    assert "failed: no node is ready" in check("capacity", **{**asked, "node_timeout": 15})


def test_capacity_waits_for_pods_that_are_ending(filled: StandIn, check: Check) -> None:
    asked = {"namespace": "tenant-x", "requests": {"cpu": "1"}, "quota": {"requests.cpu": "1400m"}}
    ending = pod("a", "500m")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    filled.items("/api/v1/pods", ending)
    assert check("capacity", **asked) == (
        "failed: quota of tenant-x: requests.cpu: this deploy adds 1 to 500m in use, and 1400m are allowed; 1 pod of that will have ended soon; "
        "wait a minute and deploy again"
    )
    answers = [[ending], [ending], []]
    filled.answers["GET /api/v1/pods"] = lambda _request: {"items": answers.pop(0) if len(answers) > 1 else answers[0]}
    assert check("capacity", **asked, wait=30).startswith("passed")


def test_capacity_uses_the_live_quota_and_counts_storage(filled: StandIn, check: Check) -> None:
    quotas = [
        {"metadata": {"name": "a"}, "spec": {"hard": {"requests.storage": "2Gi", "pods": "9"}}},
        {"metadata": {"name": "b"}, "spec": {"hard": {"requests.storage": "1Gi"}}},
        {"metadata": {"name": "c"}, "spec": {"hard": {"pods": "0"}, "scopes": ["BestEffort"]}},
    ]
    filled.items("/api/v1/namespaces/tenant-x/resourcequotas", *quotas)
    claim = {"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "600Mi"}}}}
    filled.items("/api/v1/namespaces/tenant-x/persistentvolumeclaims", claim)
    found = check("capacity", namespace="tenant-x", requests={"cpu": "0", "storage": "500Mi", "pods": 1})
    assert "quota of tenant-x: requests.storage: this deploy adds 500Mi to 600Mi in use, and 1Gi are allowed" in found
    found = check("capacity", namespace="tenant-x", requests={"cpu": "0", "storage": "400Mi", "pods": 1})
    assert found.endswith("quota requests.storage at 1000Mi of 1Gi")


def test_pods_that_have_ended_count_as_objects_alone(filled: StandIn, check: Check) -> None:
    # One runs and one has ended: both are objects, and the quota's controller may have counted another number a moment ago.
    filled.items("/api/v1/pods", pod("a", "500m"), {**pod("done", "9"), "status": {"phase": "Succeeded"}})
    live = {"metadata": {"name": "tier"}, "spec": {"hard": {}}, "status": {"used": {"count/pods": "7", "count/roles.rbac.authorization.k8s.io": "3"}}}
    filled.items("/api/v1/namespaces/tenant-x/resourcequotas", live)
    quota = {"count/pods": "3", "pods": "2", "count/roles.rbac.authorization.k8s.io": "3", "limits.ephemeral-storage": "1Gi"}
    asked = {"namespace": "tenant-x", "requests": {"cpu": "1", "pods": 1, "ephemeral-storage": "1Mi"}, "limits": {"ephemeral-storage": "1Gi"}}
    assert check("capacity", **asked, quota=quota).startswith("passed")
    said = check("capacity", **asked, quota={**quota, "count/pods": "2", "count/roles.rbac.authorization.k8s.io": "2", "limits.ephemeral-storage": "500Mi"})
    assert "count/pods: this deploy adds 1 to 2 in use, and 2 are allowed; count/roles.rbac.authorization.k8s.io: 3 in use, and 2 are allowed" in said
    assert "limits.ephemeral-storage: this deploy adds 1Gi to 0 in use, and 500Mi are allowed" in said


def test_a_smaller_tier_must_hold_what_is_there_already(filled: StandIn, check: Check) -> None:
    live = {"metadata": {"name": "tier"}, "spec": {"hard": {}}, "status": {"used": {"secrets": "61", "services": "2", "requests.cpu": "99"}}}
    filled.items("/api/v1/namespaces/tenant-x/resourcequotas", live)
    claims = [{"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": "150Gi"}}}} for name in ("a", "b")]
    filled.items("/api/v1/namespaces/tenant-x/persistentvolumeclaims", *claims)
    small = {"requests.cpu": "2", "requests.storage": "100Gi", "persistentvolumeclaims": "1", "pods": "1", "secrets": "60", "services": "40"}
    assert check("capacity", namespace="tenant-x", requests={"cpu": "1", "pods": 1}, quota=small) == (
        "failed: quota of tenant-x: persistentvolumeclaims: 2 in use, and 1 are allowed; pods: this deploy adds 1 to 1 in use, and 1 are allowed; "
        "requests.storage: 300Gi in use, and 100Gi are allowed; secrets: 61 in use, and 60 are allowed; "
        "choose a larger tier or a smaller market size, or remove what the tenant does not need"
    )
    large = {**small, "requests.storage": "300Gi", "persistentvolumeclaims": "2", "pods": "2", "secrets": "61"}
    assert check("capacity", namespace="tenant-x", requests={"cpu": "1", "pods": 1}, quota=large).startswith("passed")


def test_pod_resources_are_counted_as_the_scheduler_does() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("100m", restartPolicy="Always"), container("2")],
        "containers": [container("300m"), container("200m"), {}],
        "overhead": {"cpu": "50m"},
    }
    found = _checks_capacity.pod_resources({"spec": spec}, "requests")
    assert str(found["cpu"]) == "2.150"  # the init container beside the sidecar is the peak
    spec["initContainers"] = spec["initContainers"][:1]
    assert str(_checks_capacity.pod_resources({"spec": spec}, "requests")["cpu"]) == "0.650"
    # What is said of the pod as a whole takes the place of what its containers say, and only where it is said.
    spec["resources"] = {"requests": {"cpu": "3"}}
    spec["containers"][0]["resources"]["requests"]["memory"] = "64Mi"
    found = _checks_capacity.pod_resources({"spec": spec}, "requests")
    assert (str(found["cpu"]), int(found["memory"])) == ("3.050", 64 * 2**20)
    assert _checks_capacity.pod_resources({"spec": spec}, "limits") == {"cpu": Decimal("0.05")}


def test_platform_version_is_read_from_the_secret(api: StandIn, check: Check) -> None:
    broken = {"metadata": {}, "data": {"version": base64.b64encode(b"").decode()}}
    api.answers["GET /api/v1/namespaces/barberpro-system/secrets/barberpro-platform"] = broken
    assert check("platform") == "passed: platform unknown"
