"""All that a deploy writes is admitted, what the cluster's controllers make of it too; and all of it is out of the tenant's reach."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Engine
from ansible_collections.barberpro.platform.plugins.module_utils._checks_reach import probe_pod
from ansible_collections.barberpro.platform.plugins.module_utils._client import MERGE
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PHASES, Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._store import numbered
from ansible_collections.barberpro.platform.plugins.module_utils._waves import wave_of

from tests.support.waiting import until

from .conftest import DEPLOYER, IMAGE, Guarded, Identity, identity

pytestmark = pytest.mark.simulated


@pytest.fixture(scope="module")
def zoned(admin: Resources) -> Iterator[dict[str, str]]:
    """All nodes say where they are, as a cloud's do: the API server writes that onto the pods that are bound to them."""
    labels = {"topology.kubernetes.io/zone": "guarded-a", "topology.kubernetes.io/region": "guarded"}
    nodes = [Ref.of(node) for node in admin.list("v1", "Node")]
    label(admin, nodes, labels)
    yield labels
    label(admin, nodes, dict.fromkeys(labels))


def label(admin: Resources, nodes: list[Ref], labels: Mapping[str, str | None]) -> None:
    """Set labels of nodes; None removes."""
    paths = [admin.path(node.api_version, node.kind, "", node.name) for node in nodes]
    admin.client.map(lambda path: admin.client.request("PATCH", path, body={"metadata": {"labels": labels}}, content_type=MERGE), paths)


@pytest.fixture(scope="module")
def deployed(platform: None, zoned: dict[str, str], admin: Resources, simulated_kubeconfig: str) -> Iterator[tuple[Guarded, list[dict[str, Any]]]]:
    """A barbershop, applied whole as the deployer."""
    tenant = Guarded(f"whole-{uuid.uuid4().hex[:6]}", "small", simulated_kubeconfig)
    deployer = identity(simulated_kubeconfig, DEPLOYER)
    objects = numbered(tenant.objects("", *PHASES), 1)
    for obj in sorted(objects, key=lambda item: wave_of(item["kind"])):
        deployer.resources.apply(obj)
    yield tenant, objects
    tenant.clear_away(admin)


def running(admin: Resources, tenant: Guarded, labels: str) -> bool:
    """Say whether a pod has got to a node and its kubelet has reported, which only those two may write."""
    pods = admin.list("v1", "Pod", tenant.namespace, labels=labels)
    return any((pod.get("status") or {}).get("phase") in ("Running", "Succeeded") for pod in pods)


def test_controllers_scheduler_and_nodes_do_their_work(deployed: tuple[Guarded, list[dict[str, Any]]], admin: Resources) -> None:
    tenant, objects = deployed
    names = [obj["metadata"]["labels"]["app.kubernetes.io/name"] for obj in objects if obj["kind"] in ("Deployment", "Job")]
    assert sorted(names) == ["booking", "booking-migrate", "walkin-queue", "walkin-queue-migrate"]

    def missing() -> list[str]:
        return [name for name in names if not running(admin, tenant, f"app.kubernetes.io/name={name}")]

    until(missing, "a pod of each workload to run; those without one are told", good=lambda found: not found)


def test_jobs_end_where_nodes_have_zones(deployed: tuple[Guarded, list[dict[str, Any]]], zoned: dict[str, str], admin: Resources) -> None:
    tenant, objects = deployed
    jobs = [Ref.of(obj) for obj in objects if obj["kind"] == "Job"]

    def unfinished() -> list[str]:
        return [str(job) for job in jobs if not complete(admin.get(job) or {})]

    until(unfinished, "Jobs to be complete, for which their controller takes its finalizer off their pods", good=lambda found: not found)
    for pod in admin.list("v1", "Pod", tenant.namespace, labels="app.kubernetes.io/name=booking-migrate"):
        assert zoned.items() <= pod["metadata"]["labels"].items()
        assert not pod["metadata"].get("finalizers")


def complete(job: Mapping[str, Any]) -> bool:
    """Say whether a Job has ended well."""
    return any(entry["type"] == "Complete" and entry["status"] == "True" for entry in job.get("status", {}).get("conditions") or [])


def test_the_gate_s_probe_is_admitted(deployed: tuple[Guarded, list[dict[str, Any]]], simulated_kubeconfig: str) -> None:
    tenant, _objects = deployed
    labels = {"app.kubernetes.io/component": "booking", "barberpro.platform/tenant": tenant.name, "barberpro.platform/database": "true"}
    pod = probe_pod({
        "namespace": tenant.namespace, "image": IMAGE, "labels": labels, "open": ["a:1"], "closed": ["b:1"], "timeout": 3, "service_account": "booking",
        "pull_secrets": [],
    })
    assert identity(simulated_kubeconfig, DEPLOYER).create(pod) == ""
    said = owner_of(tenant).create(pod)
    assert f"control ownership: Pod {tenant.namespace}/{pod['metadata']['name']} carries the label " in said


def owner_of(tenant: Guarded) -> Identity:
    """The owner of a tenant."""
    return tenant.person("owner")


def test_roles_and_bindings_that_are_gone_are_made_again(
    deployed: tuple[Guarded, list[dict[str, Any]]], admin: Resources, simulated_kubeconfig: str
) -> None:
    """The API server lets nobody bind a role that is not there, not even by a dry run."""
    tenant, objects = deployed
    engine = Engine(identity(simulated_kubeconfig, DEPLOYER).resources, tenant.name, {})
    assert engine.plan(objects).effective() == []
    gone = {Ref.of(obj) for obj in objects if obj["kind"] in ("Role", "RoleBinding")}
    for ref in gone:
        admin.delete(ref)
    roles = {ref for ref in gone if ref.kind == "Role"}
    with pytest.raises(PlatformError, match="not found"):
        engine.plan([obj for obj in objects if Ref.of(obj) not in roles])
    plan = engine.plan(objects)
    assert {(change.ref, change.action) for change in plan.effective()} == {(ref, "created") for ref in gone}
    assert len(roles) < len(gone)
    engine.execute(plan)
    assert all(admin.get(ref) for ref in gone)
    assert engine.plan(objects).effective() == []


def test_nothing_of_it_is_the_tenant_s_to_change(deployed: tuple[Guarded, list[dict[str, Any]]], admin: Resources) -> None:
    tenant, objects = deployed
    admin.apply({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "everything", "namespace": tenant.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": f"stranger@{tenant.name}"}],
    })
    stranger = tenant.person("stranger")
    none = Ref("v1", "Secret", tenant.namespace, "none")
    until(lambda: stranger.get(none), "the API server to know the binding", good=lambda said: "forbidden" not in said)
    open_to_tenant = [
        str(Ref.of(obj)) for obj in objects
        if not all("control ownership: " in said or "control namespaces: " in said
                   for said in (stranger.patch(Ref.of(obj), {"metadata": {"annotations": {"a": "b"}}}), stranger.delete(Ref.of(obj))))
    ]
    assert open_to_tenant == []
    assert len(objects) > 30
