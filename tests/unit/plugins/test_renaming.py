"""A tenant whose host name changes: what its plan asks the API server, and in which order the way back goes."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _claims, _guard, _renaming, _undo
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change, Engine, Plan
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/tenant-shop/httproutes"
OLD, NEW = "old.example.org", "new.example.org"


def namespace(host: str) -> dict[str, Any]:
    """The Namespace of the tenant under a host."""
    metadata = {
        "name": "tenant-shop", "uid": "n", "labels": {"barberpro.platform/tenant": "shop"},
        "annotations": {"barberpro.platform/host": host, "barberpro.platform/phase": "infrastructure"},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def route(*hosts: str, name: str = "main") -> dict[str, Any]:
    """A route of the tenant."""
    metadata = {
        "name": name, "namespace": "tenant-shop", "labels": {"barberpro.platform/tenant": "shop"},
        "annotations": {"barberpro.platform/phase": "promotion"},
    }
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": {"hostnames": list(hosts)}}


def served(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "uid": f"uid-{obj['metadata']['name']}"}}


@pytest.fixture
def cluster(api: StandIn) -> StandIn:
    """An API server that admits routes of the tenant's old host alone, for dry runs too."""
    kinds = [{"kind": "HTTPRoute", "name": "httproutes", "namespaced": True}]
    api.answers["GET /apis/gateway.networking.k8s.io/v1"] = {"resources": kinds}
    api.answers["GET /api/v1/namespaces/tenant-shop"] = namespace(OLD)
    api.answers["PATCH /api/v1/namespaces/tenant-shop"] = namespace(NEW)
    api.items(ROUTES, served(route(OLD)))

    def admit(request: Request) -> Reply:
        asked = json.loads(request.body) if isinstance(request.body, (str, bytes)) else request.body
        strange = [host for host in asked["spec"]["hostnames"] if host != OLD and not host.endswith(f".{OLD}")]
        if strange:
            message = f"control host-names: HTTPRoute serves {strange[0]}, and the tenant of this namespace has only {OLD} and names below it"
            return Reply(403, {"kind": "Status", "message": message, "reason": "Forbidden", "code": 403})
        return Reply(200 if asked["metadata"]["name"] == "main" else 201, served(asked))

    for name in ("main", "preview-r2"):
        api.answers[f"PATCH {ROUTES}/{name}"] = admit
    api.answers[f"POST {ROUTES}"] = admit
    return api


def test_plan_of_another_host_is_made_while_the_old_one_is_in_force(cluster: StandIn, stand_in_client: Client) -> None:
    engine = Engine(Resources(stand_in_client), "shop", {})
    asked = [namespace(NEW), route(NEW, f"www.{NEW}"), route(NEW, name="preview-r2")]
    plan = engine.plan(asked)
    assert {str(change.ref): change.action for change in plan.changes} == {
        "Namespace tenant-shop": "changed", "HTTPRoute tenant-shop/main": "changed", "HTTPRoute tenant-shop/preview-r2": "created",
    }
    # What a reader of the plan sees is what the run will bring, and what it will apply is what was asked.
    main = next(change for change in plan.changes if change.ref.name == "main")
    assert main.before is not None
    assert main.after is not None
    assert (main.before["spec"]["hostnames"], main.after["spec"]["hostnames"]) == ([OLD], [NEW, f"www.{NEW}"])
    assert main.desired == asked[1]


def test_a_host_that_is_not_the_tenants_is_refused_all_the_same(cluster: StandIn, stand_in_client: Client) -> None:
    engine = Engine(Resources(stand_in_client), "shop", {})
    with pytest.raises(PlatformError, match=r"control host-names: HTTPRoute serves neighbour.example.org, and the tenant of this namespace has only"):
        engine.plan([namespace(NEW), route(NEW, "neighbour.example.org")])
    with pytest.raises(PlatformError, match=f"control host-names: HTTPRoute serves {NEW}, and the tenant of this namespace has only {OLD}"):
        engine.plan([namespace(OLD), route(NEW)])


@pytest.mark.parametrize(
    ("asked", "tried"),
    [([NEW], [OLD]), ([f"a.{NEW}", f"*.{NEW}"], [f"a.{OLD}", f"*.{OLD}"]), ([f"x{NEW}"], [f"x{NEW}"]), ([], [])],
)
def test_routes_are_tried_under_the_host_in_force(asked: list[str], tried: list[str]) -> None:
    renamed = {"tenant-shop": (NEW, OLD)}
    wanted = route(*asked)
    admitted = _renaming.as_admitted(wanted, renamed)
    assert admitted["spec"]["hostnames"] == tried
    assert _renaming.as_asked(admitted, wanted, renamed) == wanted
    assert _renaming.as_admitted(wanted, {}) is wanted


def test_the_guard_rails_are_waited_for(cluster: StandIn, stand_in_client: Client) -> None:
    resources = Resources(stand_in_client)
    _guard.await_host(resources, "tenant-shop", OLD, time.monotonic() + 5)
    with pytest.raises(PlatformError, match=f"Namespace tenant-shop names the host {NEW}, and the API server still refuses a route for it: control"):
        _guard.await_host(resources, "tenant-shop", NEW, time.monotonic() + 0.3)


def test_a_refusal_with_a_longer_host_is_not_taken_for_this_ones(cluster: StandIn, stand_in_client: Client) -> None:
    with pytest.raises(PlatformError, match=r"must be refused there by control host-names with the tenant's host ld.example.org"):
        _guard.await_refusal(Resources(stand_in_client), "tenant-shop", "ld.example.org", time.monotonic() + 0.3)


class Steps:
    """A run that notes what it does."""

    dry, deadline, namespace, resources = False, 0.0, "tenant-shop", None

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.done: list[Change] = []
        self.record = SimpleNamespace(current=None)

    def execute(self, plan: Plan) -> None:
        self.steps += [str(change.ref) for change in plan.effective()]
        self.done += plan.changes

    def wait(self, _objects: Any) -> None:
        """All is ready at once."""


@pytest.mark.parametrize(
    ("before", "steps"),
    [
        (NEW, ["Namespace tenant-shop", f"await {OLD}", "HTTPRoute tenant-shop/main"]),
        # Customers come first where nothing stands against it.
        (OLD, ["HTTPRoute tenant-shop/main", "Namespace tenant-shop"]),
    ],
)
def test_on_the_way_back_the_name_comes_before_the_route(monkeypatch: pytest.MonkeyPatch, before: str, steps: list[str]) -> None:
    run = Steps()
    monkeypatch.setattr(_guard, "await_host", lambda _resources, _namespace, host, _deadline: run.steps.append(f"await {host}"))
    space, main = namespace(OLD), route(OLD)
    changes = [
        Change(Ref.of(main), "changed", "promotion", main, route(before), main),
        Change(Ref.of(space), "changed", "infrastructure", space, namespace(before), space),
    ]
    _undo._switch(run, [space, main], Plan(changes))  # type: ignore[arg-type]
    assert run.steps == steps


def test_the_host_of_a_tenant_is_that_of_its_namespace() -> None:
    assert _claims.host_of([route(NEW), namespace("Old.Example.org.")]) == OLD
