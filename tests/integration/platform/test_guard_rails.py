"""What a tenant's owner may do in the namespace, and that every single wrong field is refused by the control that is there for it."""

from __future__ import annotations

from typing import Any

import pytest

from .baseline import changed, good, pod_spec
from .conftest import IMAGE, NAMESPACES, REGISTRY, TAINT, ZONE, Guarded, Identity

pytestmark = pytest.mark.simulated
KINDS = ("pod", "deployment", "statefulset", "job", "cronjob", "service", "route", "claim", "role", "binding", "policy", "config", "secret", "account")
# Where each kind holds the pod that it runs.
PODS = {
    "pod": "spec", "deployment": "spec.template.spec", "statefulset": "spec.template.spec", "job": "spec.template.spec",
    "cronjob": "spec.jobTemplate.spec.template.spec",
}
FOREIGN = f"docker.io/library/busybox@sha256:{'b' * 64}"
CATALOGUE = "comes from none of the registries of the image catalogue"
LOOSE = "is neither pinned by digest nor pulled always; name it as IMAGE@sha256:DIGEST or set imagePullPolicy: Always"
PART = "metadata.labels.app~kubernetes~io/part-of"
MANAGED = "metadata.labels.app~kubernetes~io/managed-by"
RESERVED = "which only the platform gives; take it off and use a label of your own"
SECURITY = 'violates PodSecurity "restricted:latest": '
GATEWAY_ONLY = "a tenant is reached through the shared gateway only"
ROUTE = f"add an HTTPRoute, and a NetworkPolicy that lets the namespace {NAMESPACES['gateway']} in to your pods"
EXISTING = "which may hold data of somebody else; leave volumeName, selector and dataSource out and a new volume is made"
SELECTS = "has a podSelector that can hit pods of the platform; ask for a label that only pods of your own carry"
ESCALATION = "is attempting to grant RBAC permissions not currently held"
MAIN = pod_spec()["containers"][0]
CONTAINER = "spec.containers.0.securityContext"
OTHER_APP = {"matchLabels": {"app": "other"}}
ELSEWHERE = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "barberpro.platform"}}}
AROUND = "looks at pods outside of this namespace by an affinity between pods"
TOKEN = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}]
CSI = [{"name": "c", "csi": {"driver": "secrets.test", "nodePublishSecretRef": {"name": "booking-database"}}}]
PARENT = {"name": "barberpro", "namespace": NAMESPACES["gateway"]}
CLAIMED = {"accessModes": ["ReadWriteOnce"], "storageClassName": "guarded-delete", "resources": {"requests": {"storage": "1Gi"}}}

GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACES["gateway"]}}}
OUTWARD = "has a namespaceSelector, which reaches out of the namespace; take it away and name pods of your own namespace by podSelector, or, for the"
HELD = "adds the finalizer mine.test/hold, and whoever removes the tenant waits until somebody takes it off; leave it out"
TOLERABLE = (
    "and could run on nodes that are kept for others; tenants may tolerate node.kubernetes.io/not-ready, node.kubernetes.io/unreachable,"
    f" node.kubernetes.io/memory-pressure, {TAINT}; take it away, or have the key added to platform_tolerated_taints"
)
CLASS = "volume.beta.kubernetes.io/storage-class"
OLD_CLASS = f"has the annotation {CLASS}, which goes before its storageClassName; take it off"

# Control, what the sentence must say, kind, field, value.
Mutant = tuple[str, str, str, str, Any]


def images() -> list[Mutant]:
    """Every way to run an image: foreign, by a tag, by a name that only begins like a registry of the catalogue."""
    found: list[Mutant] = []
    for kind, path in PODS.items():
        image = f"{path}.containers.0.image"
        found += [
            ("control images", f"image {FOREIGN} {CATALOGUE} ({REGISTRY}/); push it there", kind, image, FOREIGN),
            ("control images", f"image {REGISTRY}/booking:1 {LOOSE}", kind, image, f"{REGISTRY}/booking:1"),
            ("control images", f"image {REGISTRY}.evil.test/booking@", kind, image, IMAGE.replace("/barberpro", "/barberpro.evil.test", 1)),
            ("control images", f"image {FOREIGN} {CATALOGUE}", kind, f"{path}.initContainers", [{**MAIN, "name": "first", "image": FOREIGN}]),
            ("control images", f"image {FOREIGN} {CATALOGUE}", kind, f"{path}.volumes", [{"name": "code", "image": {"reference": FOREIGN}}]),
        ]
    return found


def pods() -> list[Mutant]:
    """What Pod Security keeps out; it speaks for itself."""
    restricted = (
        (CONTAINER, {"privileged": True, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}, "privileged"),
        (f"{CONTAINER}.allowPrivilegeEscalation", True, "allowPrivilegeEscalation != false"),
        (f"{CONTAINER}.capabilities.add", ["NET_RAW"], "unrestricted capabilities"),
        (f"{CONTAINER}.capabilities.drop", [], "unrestricted capabilities"),
        (f"{CONTAINER}.runAsNonRoot", False, "runAsNonRoot != true"), (f"{CONTAINER}.runAsUser", 0, "runAsUser=0"),
        (f"{CONTAINER}.seccompProfile", {"type": "Unconfined"}, "seccompProfile"),
        ("spec.hostNetwork", True, "host namespaces"), ("spec.hostPID", True, "host namespaces"), ("spec.hostIPC", True, "host namespaces"),
        ("spec.volumes", [{"name": "host", "hostPath": {"path": "/"}}], "restricted volume types"),
        ("spec.volumes", [{"name": "nfs", "nfs": {"server": "10.0.0.1", "path": "/"}}], "restricted volume types"),
        ("spec.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "forbidden sysctls"),
        ("spec.containers.0.ports", [{"containerPort": 80, "hostPort": 80}], "hostPort"),
    )
    return [("PodSecurity", f"{SECURITY}{reason}", "pod", path, value) for path, value, reason in restricted]


TABLE: list[Mutant] = [
    *images(),
    *pods(),
    ("control services", f"has type NodePort: {GATEWAY_ONLY}; leave the type out and {ROUTE}", "service", "spec.type", "NodePort"),
    ("control services", f"has type LoadBalancer: {GATEWAY_ONLY}", "service", "spec.type", "LoadBalancer"),
    ("control services", f"has type ExternalName: {GATEWAY_ONLY}", "service", "spec", {"type": "ExternalName", "externalName": "db.neighbour.test"}),
    ("control services", f"has externalIPs 192.0.2.7: {GATEWAY_ONLY}; remove them and {ROUTE}", "service", "spec.externalIPs", ["192.0.2.7"]),
    ("control host-names", f"serves www.{ZONE}, and the tenant of this namespace has only", "route", "spec.hostnames", [f"www.{ZONE}"]),
    ("control host-names", f"serves *.{ZONE}, and", "route", "spec.hostnames", [f"*.{ZONE}"]),
    ("control host-names", "serves example.com, and", "route", "spec.hostnames.1", "example.com"),
    ("control host-names", "serves x{host}, and", "route", "spec.hostnames", ["x{host}"]),
    ("control host-names", "serves every host name, and", "route", "spec.hostnames", []),
    ("control host-names", "serves every host name, and", "route", "spec.hostnames", None),
    ("control volumes", "asks for storage class 'guarded-retain', and volumes of tenants come from guarded-delete", "claim",
     "spec.storageClassName", "guarded-retain"),
    ("control volumes", "asks for storage class ''", "claim", "spec.storageClassName", ""),
    ("control volumes", "asks for storage class none", "claim", "spec.storageClassName", None),
    ("control volumes", f"asks for the existing volume theirs, {EXISTING}", "claim", "spec.volumeName", "theirs"),
    ("control volumes", "asks for the existing volume that its selector finds", "claim", "spec.selector", OTHER_APP),
    ("control volumes", "asks for storage class 'guarded-retain'", "statefulset", "spec.volumeClaimTemplates.0.spec.storageClassName", "guarded-retain"),
    ("control volumes", "asks for the existing volume theirs", "statefulset", "spec.volumeClaimTemplates.0.spec.volumeName", "theirs"),
    ("control volumes", "asks for the existing volume theirs", "pod", "spec.volumes", [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "guarded-delete", "volumeName": "theirs", "resources": {"requests": {"storage": "1Gi"}},
    }}}}]),
    *(
        ("control priorities", "has priorityClassName system-cluster-critical, which would push other tenants off the nodes; leave it out", kind,
         f"{PODS[kind]}.priorityClassName", "system-cluster-critical")
        for kind in PODS
    ),
    *(
        row
        for kind, spec in PODS.items()
        for row in (
            ("control scheduling", "names the node node-0, which goes past the scheduler; leave nodeName out", kind, f"{spec}.nodeName", "node-0"),
            ("control scheduling", AROUND, kind, f"{spec}.affinity",
             {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**ELSEWHERE, "namespaceSelector": {}}]}}),
            ("control removal", "has terminationGracePeriodSeconds 301, and whoever removes the tenant waits for it; 300 are allowed", kind,
             f"{spec}.terminationGracePeriodSeconds", 301),
            ("control secrets", "asks for a token for the audience vault, which only the platform's workloads show", kind, f"{spec}.volumes", TOKEN),
            ("control volumes", "mounts an inline volume of the CSI driver secrets.test", kind, f"{spec}.volumes", CSI),
        )
    ),
    *(
        ("control scheduling", AROUND, "pod", "spec.affinity", affinity)
        for affinity in (
            {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**ELSEWHERE, "namespaces": ["tenant-other"]}]}},
            {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {**ELSEWHERE, "namespaceSelector": {}}},
            ]}},
            {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**ELSEWHERE, "namespaceSelector": {"matchLabels": {"a": "b"}}}]}},
        )
    ),
    *(
        ("control removal", HELD, kind, path, ["mine.test/hold"])
        for kind, path in (
            *((kind, "metadata.finalizers") for kind in KINDS),
            # Controllers copy these onto what they make.
            *((kind, f"{spec.removesuffix('.spec')}.metadata.finalizers") for kind, spec in PODS.items() if kind != "pod"),
            ("statefulset", "spec.volumeClaimTemplates.0.metadata.finalizers"), ("cronjob", "spec.jobTemplate.metadata.finalizers"),
        )
    ),
    # Nobody takes these off where they are not at home.
    ("control removal", "adds the finalizer kubernetes.io/pvc-protection", "config", "metadata.finalizers", ["kubernetes.io/pvc-protection"]),
    ("control removal", "adds the finalizer kubernetes.io/pv-protection", "claim", "metadata.finalizers", ["kubernetes.io/pv-protection"]),
    ("control host-names", "is attached to the Gateway {namespace}/barberpro, and tenants are reached through", "route", "spec.parentRefs",
     [{"name": "barberpro"}]),
    ("control host-names", "is attached to the Gateway kube-system/barberpro", "route", "spec.parentRefs", [PARENT, {**PARENT, "namespace": "kube-system"}]),
    ("control host-names", f"is attached to the Gateway {NAMESPACES['gateway']}/other", "route", "spec.parentRefs", [{**PARENT, "name": "other"}]),
    ("control host-names", f"is attached to the Service {NAMESPACES['gateway']}/barberpro", "route", "spec.parentRefs",
     [{**PARENT, "kind": "Service", "group": ""}]),
    *(
        ("control ownership", f"carries the label {key}, {RESERVED}", kind, f"{path}.metadata.labels.{key.replace('.', '~')}", value)
        for kind, path in (("cronjob", "spec.jobTemplate"), ("statefulset", "spec.volumeClaimTemplates.0"))
        for key, value in (("app.kubernetes.io/managed-by", "barberpro.platform"), ("barberpro.platform/tenant", "other"))
    ),
    *(
        ("control ownership", f"carries the label barberpro.platform/tenant, {RESERVED}", kind, f"{PODS[kind]}.volumes", [
            {"name": "plain", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIMED}}},
            {"name": "data", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"barberpro.platform/tenant": "other"}}, "spec": CLAIMED}}},
        ])
        for kind in PODS
    ),
    *(
        ("control ownership", "carries the label app.kubernetes.io/component, ", kind,
         f"{PODS[kind].removesuffix('.spec') if kind != 'pod' else ''}.metadata.labels.app~kubernetes~io/component".lstrip("."), "booking")
        for kind in PODS
    ),
    *(
        ("control secrets", f"reads Secret {name}, which the platform keeps for its own workloads; make a Secret of your own", kind,
         f"{PODS[kind]}.{path}", value)
        for kind in ("pod", "deployment", "cronjob")
        for path, value, name in (
            ("volumes", [{"name": "s", "secret": {"secretName": "booking-database"}}], "booking-database"),
            ("volumes", [{"name": "s", "secret": {"secretName": "registry"}}], "registry"),
            ("volumes", [{"name": "s", "projected": {"sources": [{"secret": {"name": "booking-database-owner"}}]}}], "booking-database-owner"),
            ("containers.0.envFrom", [{"secretRef": {"name": "booking-admin"}}], "booking-admin"),
            ("containers.0.env", [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "booking-admin", "key": "token"}}}], "booking-admin"),
        )
    ),
    *(
        row
        for kind in ("pod", "deployment", "cronjob")
        for row in (
            ("control root", "has hostUsers: false, with which its containers may run as root; leave it out", kind, f"{PODS[kind]}.hostUsers", False),
            ("control resources", "asks for hugepages-2Mi, and a tier bounds cpu, memory and ephemeral-storage", kind,
             f"{PODS[kind]}.containers.0.resources.limits.hugepages-2Mi", "2Mi"),
            ("control resources", "asks for vendor.test/gpu, and a tier", kind, f"{PODS[kind]}.containers.0.resources.limits.vendor~test/gpu", "1"),
            ("control scheduling", f"tolerates every taint, {TOLERABLE}", kind, f"{PODS[kind]}.tolerations", [{"operator": "Exists"}]),
            ("control scheduling", f"tolerates the taint dedicated, the taint node-role.kubernetes.io/control-plane, {TOLERABLE}", kind,
             f"{PODS[kind]}.tolerations", [{"key": key, "operator": "Exists"} for key in (TAINT, "dedicated", "node-role.kubernetes.io/control-plane")]),
            ("control scheduling", "tolerates the taint node.kubernetes.io/unschedulable, and", kind, f"{PODS[kind]}.tolerations",
             [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]),
            ("control priorities", "has priorityClassName barberpro-platform, which would push other tenants off the nodes", kind,
             f"{PODS[kind]}.priorityClassName", "barberpro-platform"),
            ("control volumes", OLD_CLASS, kind, f"{PODS[kind]}.volumes", [
                {"name": "data", "ephemeral": {"volumeClaimTemplate": {"metadata": {"annotations": {CLASS: "guarded-retain"}}, "spec": CLAIMED}}},
            ]),
        )
    ),
    *(
        ("control network-policies", "has a probe or a hook that calls another host", "deployment", f"spec.template.spec.containers.0.{place}",
         {action: {"host": "10.0.0.1", "port": 80}})
        for place in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop") for action in ("httpGet", "tcpSocket")
    ),
    ("control volumes", OLD_CLASS, "claim", f"metadata.annotations.{CLASS.replace('.', '~')}", "guarded-retain"),
    ("control volumes", OLD_CLASS, "claim", f"metadata.annotations.{CLASS.replace('.', '~')}", ""),
    ("control volumes", OLD_CLASS, "statefulset", f"spec.volumeClaimTemplates.0.metadata.annotations.{CLASS.replace('.', '~')}", "guarded-retain"),
    ("control volumes", "asks for the volume attributes class fast, and no tier has one", "claim", "spec.volumeAttributesClassName", "fast"),
    *(
        ("control volumes", f"asks for the existing volume that its dataSource names, {EXISTING}", "claim", f"spec.{field}", source)
        for field, source in (
            ("dataSource", {"kind": "PersistentVolumeClaim", "name": "other"}),
            ("dataSourceRef", {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "other"}),
        )
    ),
    *(
        ("control ownership", f"carries the label {key}, {RESERVED}", "pod", f"metadata.labels.{key.replace('.', '~')}", "a-job-of-the-platform")
        for key in ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")
    ),
    # A pod of it needs only to lose its owner to be taken for an orphan of that Job.
    *(
        ("control ownership", f"carries the label {key}, {RESERVED}", kind, f"spec.template.metadata.labels.{key.replace('.', '~')}", "a-job-of-the-platform")
        for kind in ("deployment", "statefulset") for key in ("batch.kubernetes.io/controller-uid", "controller-uid")
    ),
    *(
        ("control volumes", f"asks for the existing volume {says}, {EXISTING}", kind, f"{PODS[kind]}.volumes",
         [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {**CLAIMED, field: value}}}}])
        for kind in ("deployment", "cronjob")
        for field, value, says in (
            ("volumeName", "theirs", "theirs"), ("selector", OTHER_APP, "that its selector finds"),
            ("dataSource", {"kind": "PersistentVolumeClaim", "name": "other"}, "that its dataSource names"),
        )
    ),
    *(
        ("control ownership", "has a selector that asks for no label of its own, with which it could take over pods", kind, "spec.selector", selector)
        for kind in ("deployment", "statefulset")
        for selector in (
            {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]},
            {"matchExpressions": [{"key": "other", "operator": "DoesNotExist"}]},
        )
    ),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchLabels": {"app.kubernetes.io/component": "booking"}}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchLabels": {"barberpro.platform/database": "true"}}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchLabels": {"app.kubernetes.io/managed-by": "barberpro.platform"}}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchExpressions": [{"key": "pod-template-hash", "operator": "Exists"}]}),
    *(
        ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchExpressions": [{"key": key, "operator": "Exists"}]})
        for key in ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
    ),
    ("control network-policies", SELECTS, "policy", "spec.podSelector", {"matchLabels": {"topology.kubernetes.io/zone": "a"}}),
    *(
        ("control network-policies", reason, "policy", f"spec.{way}", value)
        for way, peers in (("ingress", "from"), ("egress", "to"))
        for value, reason in (
            ([{}], "has a rule without from or to, which means everybody"),
            ([{peers: []}], "has a rule without from or to, which means everybody"),
            ([{peers: [{"podSelector": OTHER_APP}]}, {}], "has a rule without from or to"),
            ([{peers: [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], "names the ipBlock 0.0.0.0/0; traffic to and from outside the namespace is declared"),
            ([{peers: [{"podSelector": OTHER_APP}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]}], "names the ipBlock 10.0.0.0/8"),
            ([{peers: [{"podSelector": {}}]}], "has an empty podSelector as a peer, which means every pod"),
            ([{peers: [{"podSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}]}], "has an empty podSelector as a peer"),
            ([{peers: [{"namespaceSelector": {}}]}], OUTWARD),
            ([{peers: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACES["data"]}}}]}], OUTWARD),
            ([{peers: [{"podSelector": OTHER_APP, **GATEWAY}]}], OUTWARD),
            ([{peers: [{"podSelector": OTHER_APP, "namespaceSelector": {"matchLabels": {"a": "b"}}}]}], "has a namespaceSelector"),
        )
    ),
    # The gateway comes in, and nobody goes out to its namespace.
    ("control network-policies", OUTWARD, "policy", "spec.egress", [{"to": [GATEWAY]}]),
    *(("control ownership", f"carries the label app.kubernetes.io/managed-by, {RESERVED}", kind, MANAGED, "barberpro.platform") for kind in KINDS),
    *(("control ownership", f"carries the label app.kubernetes.io/part-of, {RESERVED}", kind, PART, "barberpro.platform") for kind in ("secret", "pod")),
    ("control ownership", "carries the label barberpro.platform/tenant, ", "pod", "metadata.labels.barberpro~platform/tenant", "other"),
    *(
        ("control ownership", "carries the label barberpro.platform/database, ", kind,
         f"{path.removesuffix('.spec')}.metadata.labels.barberpro~platform/database", "true")
        for kind, path in PODS.items() if kind != "pod"
    ),
    ("control role-bindings", "binds Group system:authenticated, which is not of this tenant", "binding", "subjects.0",
     {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}),
    ("control role-bindings", "binds Group system:serviceaccounts, ", "binding", "subjects.1",
     {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts"}),
    ("control role-bindings", "binds User system:anonymous, ", "binding", "subjects.0.name", "system:anonymous"),
    ("control role-bindings", "binds ServiceAccount tenant-other/default, ", "binding", "subjects.0",
     {"kind": "ServiceAccount", "name": "default", "namespace": "tenant-other"}),
    ("RBAC", ESCALATION, "binding", "roleRef", {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}),
    ("RBAC", ESCALATION, "binding", "roleRef", {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}),
    ("RBAC", ESCALATION, "role", "rules.0.verbs", ["*"]),
    ("RBAC", ESCALATION, "role", "rules.0.resources", ["*"]),
    ("RBAC", ESCALATION, "role", "rules.0.resources", ["secrets"]),
    ("RBAC", ESCALATION, "role", "rules.0.resources", ["pods/exec"]),
    ("RBAC", ESCALATION, "role", "rules.0", {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]}),
]


def test_there_are_at_least_sixty_mutants() -> None:
    assert len({(kind, path, str(value)) for _control, _says, kind, path, value in TABLE}) >= 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_owner_makes_what_is_good(kind: str, shop: Guarded, owner: Identity) -> None:
    assert owner.create(good(shop)[kind]) == ""


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("pod", "spec.containers.0.imagePullPolicy", "Always"), ("route", "spec.hostnames", ["www.{host}"]), ("route", "spec.hostnames", ["*.{host}"]),
        ("policy", "spec.podSelector", {"matchExpressions": [{"key": "app", "operator": "In", "values": ["mine"]}]}),
        ("policy", "spec.podSelector", {"matchLabels": {"app.kubernetes.io/managed-by": "them", "app.kubernetes.io/name": "x"}}),
        ("pod", "spec.containers.0.envFrom", [{"secretRef": {"name": "mine"}}]), ("policy", "spec.ingress", []),
        ("policy", "spec.ingress", [{"from": [GATEWAY]}]),
        ("policy", "spec.ingress", [{"from": [{"podSelector": OTHER_APP}, GATEWAY], "ports": [{"port": 80}]}]),
        ("pod", "spec.tolerations", [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
        ("deployment", "spec.template.spec.tolerations", [{"key": TAINT, "operator": "Exists"}]), ("pod", "spec.tolerations", [{"key": TAINT}]),
        ("deployment", "spec.template.metadata.finalizers", ["orphan"]),
        ("pod", "spec.terminationGracePeriodSeconds", 300), ("pod", "metadata.finalizers", ["foregroundDeletion"]),
        ("config", "metadata.finalizers", ["orphan"]),
        ("pod", "spec.affinity", {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [ELSEWHERE]}}),
        ("pod", "spec.volumes", [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "mine"}}]}}]),
        ("route", "spec.parentRefs", [{**PARENT, "sectionName": "http"}, {**PARENT, "sectionName": "https"}]), ("job", "spec.manualSelector", False),
        ("statefulset", "spec.volumeClaimTemplates.0.metadata.labels", {"app": "mine"}), ("cronjob", "spec.jobTemplate.metadata.labels", {"app": "mine"}),
        ("service", "spec.type", "ClusterIP"), ("binding", "subjects.0", {"kind": "ServiceAccount", "name": "mine"}),
        ("binding", "roleRef", {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "owner"}),
    ],
)
def test_the_owner_makes_what_is_good_in_another_way(kind: str, path: str, value: Any, shop: Guarded, owner: Identity) -> None:
    obj = changed(good(shop)[kind], path, value)
    if path == "spec.containers.0.imagePullPolicy":
        obj["spec"]["containers"][0]["image"] = f"{REGISTRY}/booking:1"
    if obj["kind"] == "HTTPRoute":
        obj["spec"]["hostnames"] = [name.format(host=shop.host) for name in obj["spec"]["hostnames"]]
    if obj["kind"] == "RoleBinding" and path == "subjects.0":
        obj["subjects"][0]["namespace"] = shop.namespace
    assert owner.create(obj) == ""


@pytest.mark.parametrize(("control", "says", "kind", "path", "value"), TABLE, ids=[f"{row[2]}-{row[3]}-{number}" for number, row in enumerate(TABLE)])
def test_one_wrong_field_is_refused(control: str, says: str, kind: str, path: str, value: Any, shop: Guarded, owner: Identity) -> None:
    obj = changed(good(shop)[kind], path, value)
    if "{host}" in str(value):
        obj["spec"]["hostnames"] = [name.format(host=shop.host) for name in value]
    said = owner.create(obj)
    assert says.format(host=shop.host, namespace=shop.namespace) in said
    if control.startswith("control "):
        assert f"{control}: {obj['kind']} {shop.namespace}/mine" in said


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_the_key_that_pods_of_tenant_and_platform_share_is_no_label_of_its_own(kind: str, shop: Guarded, owner: Identity) -> None:
    key = "app.kubernetes.io/managed-by"
    obj = changed(good(shop)[kind], f"spec.template.metadata.labels.{key.replace('.', '~')}", "me")
    for asks in ({"operator": "Exists"}, {"operator": "In", "values": ["me", "barberpro.platform"]}):
        obj["spec"]["selector"] = {"matchExpressions": [{"key": key, **asks}]}
        assert f"control ownership: {obj['kind']} {shop.namespace}/mine has a selector that asks for no label of its own" in owner.create(obj)
    obj["spec"]["selector"] = {"matchLabels": {key: "me"}}
    assert owner.create(obj) == ""


def test_a_job_does_not_choose_pods_that_are_not_its_own(shop: Guarded, owner: Identity) -> None:
    # It would take over and remove pods of the platform that no controller has.
    job = changed(good(shop)["job"], "spec.manualSelector", True)
    job["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["other"]}]}
    said = owner.create(job)
    assert f"control ownership: Job {shop.namespace}/mine has manualSelector, with which it could take over pods of the platform; leave it and the" in said


def test_a_token_without_an_end_is_not_to_be_had(shop: Guarded, owner: Identity) -> None:
    token = changed(good(shop)["secret"], "metadata.annotations.kubernetes~io/service-account~name", "booking")
    said = owner.create({**token, "type": "kubernetes.io/service-account-token"})
    assert f"control secrets: Secret {shop.namespace}/mine is of type kubernetes.io/service-account-token, a token without an end; mount a projected" in said


def test_a_token_for_the_platform_s_vault_is_not_to_be_had(shop: Guarded, stranger: Identity) -> None:
    path = stranger.resources.path("v1", "ServiceAccount", shop.namespace, "booking")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["vault"]}}
    said = stranger.post(f"{path}/token", request)
    assert f"control secrets: TokenRequest {shop.namespace}/booking asks for a token for the audience vault, which only the platform's workloads show" in said
    assert stranger.post(f"{path}/token", {**request, "spec": {"audiences": ["mine"]}}) == ""
