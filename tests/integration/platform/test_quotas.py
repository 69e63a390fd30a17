"""Quotas of tenants bind before anybody has a right in the namespace, and racing creates do not get past them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _guard, _quotas
from ansible_collections.barberpro.platform.plugins.module_utils._client import MERGE
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from benchmarks.quota_race import Race
from tests.support.waiting import until

from .conftest import TIERS, Guarded

pytestmark = pytest.mark.simulated


def test_racing_creates_do_not_get_past_a_quota_that_was_waited_for(simulated_kubeconfig: str) -> None:
    with Race(simulated_kubeconfig, 40) as race:
        race.wait()
        found = race.creates(600)
    assert found["there"] == found["admitted"] == 40, found
    assert found["overshoot"] == 0


@pytest.fixture
def tenant(platform: None, admin: Resources, simulated_kubeconfig: str) -> Iterator[Guarded]:
    """A tenant of the tier small."""
    made = Guarded(f"quota-{uuid.uuid4().hex[:6]}", "small", simulated_kubeconfig)
    yield made
    made.clear_away(admin)


def live(admin: Resources, tenant: Guarded) -> dict[str, Any]:
    """The tenant's quota as it is."""
    return admin.get(Ref("v1", "ResourceQuota", tenant.namespace, "tier")) or {}


def test_nobody_is_bound_before_a_probe_is_refused(tenant: Guarded, admin: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    waited = _guard.await_refusal

    def watched(resources: Resources, namespace: str, host: str, deadline: float) -> None:
        waited(resources, namespace, host, deadline)
        seen.append(len(admin.list("rbac.authorization.k8s.io/v1", "RoleBinding", namespace)))

    monkeypatch.setattr(_guard, "await_refusal", watched)
    assert not tenant.converge().get("failed")
    # An unchanged tenant is tried too.
    assert not tenant.converge()["changed"]
    assert seen == [0, 3]


def test_nobody_is_bound_before_the_quota_binds(tenant: Guarded, admin: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, bool]] = []
    waited = _quotas.await_live

    def watched(resources: Resources, refs: list[Ref], deadline: float, counted: dict[str, str]) -> None:
        waited(resources, refs, deadline, counted)
        for ref in refs:
            bindings = admin.list("rbac.authorization.k8s.io/v1", "RoleBinding", tenant.namespace)
            quota = live(admin, tenant)
            hard, status = quota["spec"]["hard"], quota["status"]
            seen.append((ref.name, len(bindings), status["hard"] == hard and status["used"].keys() == hard.keys()))

    monkeypatch.setattr(_quotas, "await_live", watched)
    result = tenant.converge()
    assert not result.get("failed"), result
    assert seen == [("tier", 0, True)]
    assert len(admin.list("rbac.authorization.k8s.io/v1", "RoleBinding", tenant.namespace)) == 3


def test_nobody_is_bound_before_the_quota_of_a_killed_run_binds(tenant: Guarded, admin: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call ends where it waits for the quota; the second finds nothing of it to change."""
    waited: list[int] = []

    def ends(*_args: object) -> None:
        raise PlatformError("killed here")

    def counts(_resources: Resources, refs: list[Ref], _deadline: float, _counted: dict[str, str]) -> None:
        assert [ref.name for ref in refs] == ["tier"]
        waited.append(len(admin.list("rbac.authorization.k8s.io/v1", "RoleBinding", tenant.namespace)))

    monkeypatch.setattr(_quotas, "await_live", ends)
    assert "killed here" in str(tenant.converge())
    assert live(admin, tenant)["spec"]["hard"]
    monkeypatch.setattr(_quotas, "await_live", counts)
    result = tenant.converge()
    assert not result.get("failed"), result
    assert waited == [0]
    assert len(admin.list("rbac.authorization.k8s.io/v1", "RoleBinding", tenant.namespace)) == 3


def test_another_tier_is_in_force_when_the_call_returns(tenant: Guarded, admin: Resources) -> None:
    for tier in ("small", "enterprise", "medium"):
        tenant.tier = tier
        assert tenant.converge()["changed"]
        quota = live(admin, tenant)
        assert quota["status"]["hard"] == quota["spec"]["hard"]
        assert quota["spec"]["hard"]["requests.cpu"] == TIERS[tier]["cpu"]
        assert quota["spec"]["hard"]["pods"] == str(TIERS[tier]["pods"])
        limits = admin.get(Ref("v1", "LimitRange", tenant.namespace, "tier")) or {}
        assert limits["spec"]["limits"][0]["max"]["cpu"] == TIERS[tier]["cpu"]


def test_a_quota_that_counts_too_little_is_counted_anew(tenant: Guarded, admin: Resources) -> None:
    assert tenant.converge()["changed"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one", "namespace": tenant.namespace}}
    admin.create(secret)
    path = admin.path("v1", "ResourceQuota", tenant.namespace, "tier", "status")
    admin.client.request("PATCH", path, body={"status": {"used": {"secrets": "0"}}}, content_type=MERGE)
    assert live(admin, tenant)["status"]["used"]["secrets"] == "0"
    _quotas.await_live(admin, [Ref("v1", "ResourceQuota", tenant.namespace, "tier")], time.monotonic() + 120, _quotas.COUNTED)
    assert live(admin, tenant)["status"]["used"]["secrets"] == "1"


def test_what_asks_for_a_count_goes_though_its_run_was_killed(tenant: Guarded, admin: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tenant.converge()["changed"]
    asked = Ref("v1", "ConfigMap", tenant.namespace, _quotas.RECOUNT)
    create, created = admin.create, []
    with monkeypatch.context() as killed:
        # The cluster may be so quick that nobody sees the object: it is known by what the server answered.
        killed.setattr(admin, "create", lambda obj: created.append(create(obj)))
        killed.setattr(admin, "delete", lambda _ref: None)
        _quotas._ask_to_count(admin, tenant.namespace)
    assert [Ref.of(obj) for obj in created] == [asked]
    assert created[0]["metadata"]["uid"]
    until(lambda: admin.get(asked), "the cluster to delete it", 240, good=lambda found: found is None)


def test_a_quota_that_never_binds_is_named_with_its_numbers() -> None:
    ref = Ref("v1", "ResourceQuota", "kube-system", "none")
    with pytest.raises(PlatformError) as refused:
        _quotas.await_live(_Stuck(), [ref], time.monotonic() + 0.3, _quotas.COUNTED)
    said = r"ResourceQuota kube-system/none does not bind after \d+ s: status\.hard says pods nothing, spec\.hard 3; see whether "
    assert re.match(said, str(refused.value))


class _Stuck(Resources):
    """A cluster without a quota controller."""

    def __init__(self) -> None:
        """Ask nobody."""

    def get(self, ref: Ref) -> dict[str, Any] | None:
        """Return a quota that nobody has looked at."""
        return {"spec": {"hard": {"pods": "3"}}}
