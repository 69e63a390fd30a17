"""The platform's guard rails on the simulated cluster, round tenants of this folder alone, and identities to try them with."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._client import APPLY, MERGE, Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._render import render
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.modules import tenant as tenant_module

from tests.conftest import ROOT
from tests.support import modules
from tests.support.playbooks import play

ZONE = "guarded.test"
REGISTRY = "registry.guarded.test/barberpro"
IMAGE = f"{REGISTRY}/booking@sha256:{'a' * 64}"
# Credentials of the registry.
PULLS = base64.b64encode(b"puller:registry-canary").decode()
# Other files of this session have tenants without guard rails: the policies here bind to a label of their own.
GUARD_LABEL = "guarded.test/tenant"
DEPLOYER = "guarded-deployer"
# Of nodes that are for tenants.
TAINT = "guarded.test/tenants"
NAMESPACES = {name: f"guarded-{name}" for name in ("gateway", "data", "monitoring", "preflight")}


def defaults(role: str) -> dict[str, Any]:
    """Return the default variables of a role."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    return found


TIERS: dict[str, dict[str, Any]] = defaults("vertical_base")["vertical_base_tiers"]


class Person(Client):
    """A client that acts as somebody else: the API server authorizes and admits it as that user."""

    user = ""
    groups: tuple[str, ...] = ()

    def headers(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers of a request, with the name of the user it is made as."""
        return {**super().headers(extra), "Impersonate-User": self.user, **({"Impersonate-Group": self.groups[0]} if self.groups else {})}


@dataclass
class Identity:
    """Somebody who asks the API server; answers are "" or the sentence of the refusal."""

    resources: Resources

    def _asked(self, method: str, path: str, **options: Any) -> str:
        try:
            self.resources.client.request(method, path, **options)
        except ApiError as error:
            return error.server_message
        return ""

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = True) -> str:
        """Create an object."""
        ref = Ref.of(obj)
        path = self.resources.path(ref.api_version, ref.kind, ref.namespace, query={"dryRun": "All" if dry_run else None})
        return self._asked("POST", path, body=obj)

    def patch(self, ref: Ref, body: Mapping[str, Any], *more: str, dry_run: bool = True) -> str:
        """Merge-patch an object or one of its subresources."""
        path = self.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name, *more, query={"dryRun": "All" if dry_run else None})
        return self._asked("PATCH", path, body=body, content_type=MERGE)

    def apply(self, obj: Mapping[str, Any]) -> str:
        """Server-side apply an object by dry run."""
        ref = Ref.of(obj)
        path = self.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name, query={"dryRun": "All", "fieldManager": "them", "force": "true"})
        return self._asked("PATCH", path, body=obj, content_type=APPLY)

    def post(self, path: str, body: Mapping[str, Any]) -> str:
        """Post to a subresource by dry run."""
        return self._asked("POST", f"{path}?dryRun=All", body=body)

    def delete(self, ref: Ref) -> str:
        """Delete an object by dry run."""
        path = self.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name, query={"dryRun": "All"})
        return self._asked("DELETE", path)

    def get(self, ref: Ref) -> str:
        """Read an object."""
        return self._asked("GET", self.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name))

    def list(self, api_version: str, kind: str, namespace: str) -> str:
        """List objects."""
        return self._asked("GET", self.resources.path(api_version, kind, namespace))


@dataclass
class Guarded:
    """A tenant as the infrastructure stage makes it, and the people that its inventory names."""

    name: str
    tier: str
    kubeconfig: str

    @property
    def namespace(self) -> str:
        """The tenant's namespace."""
        return f"tenant-{self.name}"

    @property
    def host(self) -> str:
        """The tenant's host name."""
        return f"{self.name}.{ZONE}"

    def objects(self, host: str = "", *phases: str, **more: Any) -> list[dict[str, Any]]:
        """What the pipeline renders for the tenant, the infrastructure unless phases are named; the label to which the policies of this
        folder are bound is on the Namespace. ``more`` replaces parts of what the templates see."""
        names = {"name": self.name, "namespace": self.namespace, "host": host or self.host, "vertical": "barbershop", "tier": self.tier}
        people = {role: [{"kind": "User", "name": f"{role}@{self.name}"}] for role in ("owner", "operator", "viewer")}
        platform = {
            "monitoring_namespace": NAMESPACES["monitoring"], "gateway_namespace": NAMESPACES["gateway"], "data_namespace": NAMESPACES["data"],
            "database_cidrs": [], "database_port": 5432, "gateway_name": "barberpro",
        }
        base, shop, monitoring = (defaults(role) for role in ("vertical_base", "barbershop", "monitoring"))
        context = {
            "tenant": {**names, "market_size": "small", "region": "caba"}, "access": people, "platform": platform, "quota": TIERS[self.tier],
            "workloads": {**base["vertical_base_workloads"], **shop["barbershop_workloads"]}, "market": {"replicas": 1}, "business": {"name": self.name},
            "images": {"booking": IMAGE, "walkin_queue": IMAGE}, "pull_secrets": ["registry"], "revision": "@revision@",
            "monitoring": {key.removeprefix("monitoring_"): value for key, value in monitoring.items() if key != "monitoring_context"}, **more,
        }
        folders = [str(ROOT / "roles" / role / "templates") for role in ("tenant", "vertical_base", "monitoring")]
        rendered = render(folders, context, list(phases) or ["infrastructure"])
        for obj in rendered:
            if obj["kind"] == "Namespace":
                obj["metadata"]["labels"][GUARD_LABEL] = self.name
        return list(rendered)

    def converge(self, host: str = "", **options: Any) -> dict[str, Any]:
        """Call the module tenant as the infrastructure stage does."""
        asked = {"name": self.name, "objects": self.objects(host), "kubeconfig": self.kubeconfig, "wait_timeout": 30, "guarded": True, **options}
        return modules.call(tenant_module, asked)

    def clear_away(self, admin: Resources) -> None:
        """Remove the tenant without waiting for its namespace."""
        admin.delete(Ref("v1", "Namespace", "", self.namespace))
        for kind in ("Secret", "ConfigMap"):
            for found in admin.list("v1", kind, "barberpro-system", labels=f"barberpro.platform/tenant={self.name}"):
                admin.delete(Ref.of(found))

    def person(self, role: str) -> Identity:
        """Somebody that the inventory names for a role of this tenant."""
        return identity(self.kubeconfig, f"{role}@{self.name}")


def identity(kubeconfig: str, user: str, *groups: str) -> Identity:
    """Somebody by name."""
    client = Person.from_options({"kubeconfig": kubeconfig})
    client.user, client.groups = user, groups
    return Identity(Resources(client))


@pytest.fixture(scope="session")
def admin(simulated_kubeconfig: str) -> Resources:
    """The administrator, who prepares and looks."""
    return Resources(Client.from_options({"kubeconfig": simulated_kubeconfig}))


@pytest.fixture(scope="session")
def platform(simulated_kubeconfig: str, kubectl_path: str, admin: Resources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The foundation of the platform, installed by its playbook under other names than the real ones; gone afterwards."""
    for name, policy in (("guarded-delete", "Delete"), ("guarded-retain", "Retain")):
        admin.apply({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, "provisioner": "guarded.test/none", "reclaimPolicy": policy,
        })
    registries = tmp_path_factory.mktemp("registries") / "config.json"
    registries.write_text(json.dumps({"auths": {REGISTRY.partition("/")[0]: {"auth": PULLS}, "other.test": {"auth": PULLS}}}))
    extra = {
        "platform_registry_auth_file": str(registries),
        **{f"__platform_{name}_namespace": value for name, value in NAMESPACES.items()}, "platform_monitoring_namespace": NAMESPACES["monitoring"],
        "__platform_tenant_label": GUARD_LABEL, "platform_zone": ZONE, "platform_kubeconfig": simulated_kubeconfig, "platform_kubectl": kubectl_path,
        "platform_gateway_provider": "existing", "platform_image_registries": [REGISTRY], "platform_tolerated_taints": [TAINT],
        "images": dict.fromkeys(("postgresql", "prometheus", "alertmanager", "prometheus_operator", "prometheus_config_reloader", "pgbouncer"), IMAGE),
        "platform_deployer_subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": DEPLOYER}],
        "platform_admin_subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "guarded:admins"}],
    }
    run = play("deploy_platform.yml", "--tags", "foundation", "--diff", inventory="localhost,", extra=extra)
    assert run.code == 0, run.output
    assert PULLS not in run.output
    yield
    for policy in ("barberpro-namespaces", "barberpro-tenant-owners", "barberpro-tenant-rules"):
        for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
            admin.delete(Ref("admissionregistration.k8s.io/v1", kind, "", policy))
    for ref in (
        *(Ref("v1", "Namespace", "", name) for name in NAMESPACES.values()),
        *(Ref("storage.k8s.io/v1", "StorageClass", "", name) for name in ("guarded-delete", "guarded-retain")),
        *(Ref("flowcontrol.apiserver.k8s.io/v1", kind, "", f"barberpro-{name}")
          for kind in ("FlowSchema", "PriorityLevelConfiguration") for name in ("tenants", "platform")),
        Ref("scheduling.k8s.io/v1", "PriorityClass", "", "barberpro-platform"),
        Ref("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "barberpro-deployer"),
        Ref("rbac.authorization.k8s.io/v1", "ClusterRole", "", "barberpro-deployer"),
    ):
        admin.delete(ref)


@pytest.fixture(scope="session")
def tenants(platform: None, admin: Resources, simulated_kubeconfig: str) -> Iterator[dict[str, Guarded]]:
    """One tenant of every tier, and a stranger whom RBAC lets do everything in their namespaces; all gone afterwards."""
    made = {tier: Guarded(f"{tier}-{uuid.uuid4().hex[:6]}", tier, simulated_kubeconfig) for tier in TIERS}
    try:
        for one in made.values():
            result = one.converge()
            assert not result.get("failed"), json.dumps(result)
            admin.apply({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "everything", "namespace": one.namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": f"stranger@{one.name}"}],
            })
        yield made
    finally:
        for one in made.values():
            one.clear_away(admin)


@pytest.fixture(scope="session")
def shop(tenants: dict[str, Guarded]) -> Guarded:
    """One of the tenants."""
    return tenants["small"]


@pytest.fixture(scope="session")
def owner(shop: Guarded) -> Identity:
    """The owner of the tenant."""
    return shop.person("owner")


@pytest.fixture(scope="session")
def stranger(shop: Guarded) -> Identity:
    """Somebody with every right of RBAC in the tenant's namespace, so that only admission is left."""
    return shop.person("stranger")
