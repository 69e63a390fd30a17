"""What a pod reads of Secrets, and who is told of it before the platform makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._readers import read_by, refuse_readers
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

from tests.support.api_stand_in import StandIn, stand_in

VOLUME = {"volumes": [{"name": "s", "secret": {"secretName": "registry", "optional": True}}]}
OURS = {"app.kubernetes.io/managed-by": "barberpro.platform"}


@pytest.mark.parametrize(
    "spec",
    [
        VOLUME,
        {"volumes": [{"name": "s", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "registry", "optional": True}}]}}]},
        {"volumes": [{"name": "s", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "registry"}}}]},
        {"containers": [{"name": "registry", "env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "registry", "key": "k", "optional": True}}}]}]},
        {"initContainers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "registry", "optional": True}}]}]},
    ],
    ids=["volume", "projected", "driver", "variable", "variables"],
)
def test_every_way_to_read_a_secret_is_seen(spec: dict[str, Any]) -> None:
    assert read_by(spec) == {"registry"}


def test_what_only_bears_the_name_or_pulls_with_it_reads_nothing() -> None:
    spec = {
        "imagePullSecrets": [{"name": "registry"}], "serviceAccountName": "registry", "volumes": [{"name": "registry", "configMap": {"name": "registry"}}],
        "containers": [{"name": "registry", "env": [{"name": "S", "valueFrom": {"configMapKeyRef": {"name": "registry"}}}]}],
    }  # fmt: skip
    assert read_by(spec) == read_by(None) == set()


def named(name: str, spec: dict[str, Any], labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Return an object of the tenant's namespace with something as its spec."""
    return {"metadata": {"name": name, "namespace": "tenant-x", "labels": labels or {}}, "spec": spec}


def refusal(api: StandIn, *secrets: str) -> str:
    """Return what is said of Secrets that are to be made, "" when they may be."""
    try:
        refuse_readers(Resources(Client.from_options({"kubeconfig": api.kubeconfig})), "tenant-x", secrets)
    except PlatformError as error:
        return error.message
    return ""


def test_who_would_read_a_new_secret_is_named(tmp_path: Path) -> None:
    template = {"template": {"metadata": {"labels": {"app": "mine"}}, "spec": VOLUME}}
    with stand_in(tmp_path) as api:
        assert refusal(api) == ""
        assert api.log == []
        for path in ("v1/namespaces/tenant-x/pods", *(f"{group}/namespaces/tenant-x/{kind}" for group, kind in (
            ("apps/v1", "deployments"), ("apps/v1", "statefulsets"), ("batch/v1", "jobs"), ("batch/v1", "cronjobs"),
        ))):
            api.items(("/api/" if path.startswith("v1") else "/apis/") + path)
        api.items("/api/v1/namespaces/tenant-x/pods", named("booking-r1", VOLUME, OURS))
        api.items("/apis/apps/v1/namespaces/tenant-x/deployments", named("booking-r1", {"template": {"metadata": {"labels": OURS}, "spec": VOLUME}}))
        assert refusal(api, "registry", "booking-admin") == ""
        api.items("/apis/batch/v1/namespaces/tenant-x/cronjobs", named("nightly", {"jobTemplate": {"spec": template}}))
        assert refusal(api, "booking-admin") == ""
        assert refusal(api, "booking-admin", "registry") == (
            "Secret tenant-x/registry is to be made by the platform for its own workloads, and CronJob nightly of the tenant's own would read it; "
            "have the tenant's owner take it out there (a Secret of another name is the tenant's to make), then run again"
        )
        api.items("/api/v1/namespaces/tenant-x/pods", *(named(f"mine-{number}", VOLUME, {"app": "mine"}) for number in range(2)))
        api.items("/apis/batch/v1/namespaces/tenant-x/jobs", named("once", template))
        assert "workloads, and CronJob nightly, Job once, Pod mine-0 and 1 more of the tenant's own would read it; " in refusal(api, "registry")
