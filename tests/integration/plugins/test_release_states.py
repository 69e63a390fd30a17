"""The release module on a real API server: what it does to a tenant, seen by kubectl."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .conftest import Shop

pytestmark = pytest.mark.simulated


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {change["object"]: change["action"] for change in result["changes"]}


def test_a_first_deploy_goes_through_all_states(shop: Shop) -> None:
    objects = shop.set()
    plan = shop.release("planned", objects)
    assert (plan["revision"], plan["current"], plan["previous"], plan["new_tenant"], plan["changed"]) == ("r1", None, None, True, True)
    assert set(actions(plan).values()) == {"created"}
    assert len(plan["changes"]) == len(objects)
    shop.deploy(objects, until="staged")
    assert shop.kubectl.names("httproutes,servicemonitors", shop.namespace) == set()
    assert {"Deployment/booking-r1", "Service/booking-r1", "Job/migrate-r1"} <= shop.kubectl.names("deploy,svc,job", shop.namespace)
    promoted = shop.release("promoted", objects)
    assert (promoted["current"], promoted["pending"]) == (1, None)
    assert shop.backend() == "booking-r1"
    monitored = shop.release("monitored", objects)
    assert actions(monitored) == {f"ServiceMonitor {shop.namespace}/targets": "created"}
    finished = shop.release("finished", objects)
    assert (finished["kept"], finished["previous"]) == ([1], 1)


def test_a_second_run_writes_nothing(shop: Shop) -> None:
    objects = shop.set()
    shop.deploy(objects)
    before = shop.versions()
    plan = shop.release("planned", objects)
    assert (plan["changed"], plan["changes"], plan["revision"]) == (False, [], "r1")
    assert shop.tenant(objects)["changed"] is False
    for state in ("staged", "promoted", "monitored", "finished"):
        assert shop.release(state, objects)["changed"] is False, state
    assert shop.versions() == before


def test_check_mode_writes_nothing_in_any_state(shop: Shop) -> None:
    shop.deploy(shop.set())
    new = shop.set(image="shop:2", pods="12")
    before = shop.versions()
    assert shop.tenant(new, check=True)["objects"][1]["action"] == "changed"
    for state in ("planned", "staged", "promoted", "monitored", "finished"):
        result = shop.release(state, new, check=True)
        assert not result.get("failed"), result
    assert shop.release("reverted", check=True, previous=1)["changed"] is False
    assert shop.release("rolled_back", check=True, to_revision=1)["changed"] is False
    assert shop.versions() == before


def test_check_mode_of_a_new_tenant_makes_no_namespace(shop: Shop) -> None:
    objects = shop.set()
    assert shop.tenant(objects, check=True)["created"] is True
    assert shop.release("planned", objects)["changed"] is True
    assert shop.release("staged", objects, check=True)["changed"] is True
    assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""
    assert shop.versions() == {}


def test_a_new_revision_stands_beside_the_old_until_finished(shop: Shop) -> None:
    shop.deploy(shop.set(extra=("old",)))
    new = shop.set(image="shop:2")
    plan = shop.release("planned", new)
    assert (plan["revision"], plan["current"], plan["previous"]) == ("r2", 1, 1)
    assert actions(plan)[f"Deployment {shop.namespace}/booking-r2"] == "created"
    assert actions(plan)[f"Deployment {shop.namespace}/booking-r1"] == "deleted"
    assert actions(plan)[f"HTTPRoute {shop.namespace}/main"] == "changed"
    assert actions(plan)[f"ConfigMap {shop.namespace}/old"] == "deleted"
    shop.deploy(new, until="staged")
    assert shop.backend() == "booking-r1"
    shop.release("promoted", new)
    assert shop.backend() == "booking-r2"
    assert {"Deployment/booking-r1", "Deployment/booking-r2"} == shop.kubectl.names("deploy", shop.namespace)
    shop.release("monitored", new)
    done = shop.release("finished", new)
    assert {"Deployment/booking-r2"} == shop.kubectl.names("deploy", shop.namespace)
    assert "ConfigMap/old" not in shop.kubectl.names("cm", shop.namespace)
    assert (done["kept"], done["current"]) == ([1, 2], 2)


def test_the_plan_is_what_the_run_then_does(shop: Shop) -> None:
    shop.deploy(shop.set(extra=("a",)))
    new = shop.set(image="shop:2", extra=("b",), pods="11")
    plan = actions(shop.release("planned", new))
    done = {item["object"]: item["action"] for item in shop.tenant(new)["objects"] if item["action"] != "unchanged"}
    for state in ("staged", "promoted", "monitored", "finished"):
        done |= actions(shop.release(state, new))
    assert done == plan


def test_history_is_trimmed_but_never_the_current_revision(shop: Shop) -> None:
    for number in range(1, 5):
        objects = shop.set(image=f"shop:{number}", job=False)
        for state in ("staged", "promoted", "finished"):
            if number == 1 and state == "staged":
                shop.tenant(objects)
            result = shop.release(state, objects, keep=2)
    assert (result["kept"], result["current"]) == ([3, 4], 4)
    found = shop.kubectl.json("secrets", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={shop.name}")
    names = {item["metadata"]["name"] for item in found["items"]}
    assert names == {f"release-{shop.name}-{end}" for end in ("record", "r3-0", "r4-0")}


def test_sets_are_immutable_typed_secrets(shop: Shop) -> None:
    shop.deploy(shop.set())
    secret = shop.kubectl.json("secret", f"release-{shop.name}-r1-0", "-n", "barberpro-system")
    assert (secret["type"], secret["immutable"]) == ("barberpro.platform/release.v1", True)


def test_promotion_needs_a_staged_revision(shop: Shop) -> None:
    shop.deploy(shop.set())
    result = shop.release("promoted", shop.set(image="shop:2"))
    assert result["msg"] == f"revision r2 of tenant {shop.name} is not staged; call state staged with the same objects first"


def test_values_of_secrets_have_no_place_in_a_release(shop: Shop) -> None:
    objects = shop.set()
    objects.append({**objects[-1], "apiVersion": "v1", "kind": "Secret", "spec": None, "stringData": {"a": "canary"}})
    result = shop.release("planned", objects)
    assert "a release holds no values of Secrets" in result["msg"]
    assert "canary" not in str(result)


def test_a_pod_waits_for_the_node_that_the_cluster_adds(shop: Shop) -> None:
    objects = shop.set(job=False)
    booking = next(obj for obj in objects if obj["kind"] == "Deployment")
    booking["spec"]["template"]["spec"]["nodeSelector"] = {"pool": shop.name}
    shop.tenant(objects)
    given_up = shop.release("staged", objects)
    assert given_up["failed"]
    assert "cannot be scheduled: 0/" in given_up["msg"]
    assert "after" not in given_up["msg"].partition("cannot be scheduled")[0], "it is final, and not the wait that is over"
    node = shop.kubectl.json("nodes")["items"][0]["metadata"]["name"]
    comes = threading.Timer(20, shop.kubectl, ("label", "node", node, f"pool={shop.name}"))
    comes.start()
    try:
        assert not shop.release("staged", objects, node_timeout=100, wait_timeout=100).get("failed")
    finally:
        comes.join()
        shop.kubectl("label", "node", node, "pool-")
