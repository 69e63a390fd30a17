"""The ways back: revert, rollback, and runs that were killed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _undo
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

from .conftest import Gateway, Shop

pytestmark = pytest.mark.simulated


def test_a_failed_first_deploy_leaves_nothing(shop: Shop) -> None:
    objects = shop.set()
    plan = shop.release("planned", objects)
    shop.deploy(objects, until="promoted")
    result = shop.release("reverted", previous=plan["previous"])
    assert (result["removed_tenant"], result["current"], result["kept"], result["revision"]) == (True, None, [], "none")
    assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""
    assert shop.release("planned", objects)["revision"] == "r2"  # a number is used once


def test_a_failed_run_before_promotion_is_undone(shop: Shop) -> None:
    shop.deploy(shop.set(extra=("kept",)))
    before = shop.kubectl.names("deploy,svc,cm,job,httproute,quota", shop.namespace)
    new = shop.set(image="shop:2", extra=("added",), pods="11")
    plan = shop.release("planned", new)
    shop.deploy(new, until="staged")
    result = shop.release("reverted", previous=plan["previous"])
    assert (result["current"], result["pending"], result["kept"]) == (1, None, [1])
    assert shop.kubectl.names("deploy,svc,cm,job,httproute,quota", shop.namespace) == before
    assert shop.kubectl.json("quota", "tier", "-n", shop.namespace)["spec"]["hard"]["pods"] == "10"
    assert shop.backend() == "booking-r1"


def test_a_failed_run_after_promotion_goes_back_by_the_route(shop: Shop) -> None:
    shop.deploy(shop.set())
    uid = shop.kubectl.json("deploy", "booking-r1", "-n", shop.namespace)["metadata"]["uid"]
    new = shop.set(image="shop:2")
    plan = shop.release("planned", new)
    shop.deploy(new, until="monitored")
    result = shop.release("reverted", previous=plan["previous"])
    assert (result["current"], result["kept"], result["changes"][0]["object"]) == (1, [1], f"HTTPRoute {shop.namespace}/main")
    assert shop.backend() == "booking-r1"
    assert shop.kubectl.json("deploy", "booking-r1", "-n", shop.namespace)["metadata"]["uid"] == uid
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1"}
    assert shop.release("reverted", previous=1)["changed"] is False


def test_rollback_to_any_kept_revision_with_gaps(shop: Shop) -> None:
    shop.deploy(shop.set(extra=("first",)))
    shop.deploy(shop.set(image="shop:2"))
    failed = shop.set(image="shop:3")
    shop.deploy(failed, until="staged")
    shop.release("reverted", previous=2)
    shop.deploy(shop.set(image="shop:4", workloads=("booking", "queue")))
    shop.kubectl("create", "configmap", "foreign", "-n", shop.namespace)
    shop.kubectl("annotate", "service", "booking-r4", "-n", shop.namespace, "foreign=yes")
    shop.kubectl("annotate", "httproute", "main", "-n", shop.namespace, "foreign=yes")
    check = shop.release("rolled_back", check=True, to_revision=1)
    result = shop.release("rolled_back", to_revision=1)
    assert sorted(map(str, check["changes"])) == sorted(map(str, result["changes"]))
    assert (result["revision"], result["current"], result["kept"]) == ("r1", 1, [1, 2, 4])
    assert shop.kubectl.names("deploy,job", shop.namespace) == {"Deployment/booking-r1"}
    assert {"ConfigMap/first", "ConfigMap/foreign"} <= shop.kubectl.names("cm", shop.namespace)
    assert shop.backend() == "booking-r1"
    assert shop.kubectl.json("httproute", "main", "-n", shop.namespace)["metadata"]["annotations"]["foreign"] == "yes"
    again = shop.release("rolled_back", to_revision=1)
    assert (again["changed"], again["changes"]) == (False, [])
    plan = shop.release("planned", shop.set(extra=("first",)))
    assert (plan["revision"], plan["changed"]) == ("r1", False)
    assert shop.release("rolled_back", to_revision=4)["current"] == 4
    assert shop.release("rolled_back")["current"] == 2


def test_rollback_to_what_is_not_kept_names_what_is(shop: Shop) -> None:
    shop.deploy(shop.set())
    result = shop.release("rolled_back", to_revision=7)
    assert result["msg"] == f"revision r7 of tenant {shop.name} is not kept (kept: r1); choose one of these"
    alone = shop.release("rolled_back")
    assert alone["msg"] == f"tenant {shop.name}: no revision before r1 is kept, so there is none to return to"


def test_a_rollback_that_does_not_come_up_leaves_the_current_serving(shop: Shop) -> None:
    shop.deploy(shop.set(workloads=("booking", "queue")))
    shop.deploy(shop.set(image="shop:2"))
    shop.kubectl("create", "quota", "small", "-n", shop.namespace, "--hard=pods=1")
    result = shop.release("rolled_back", to_revision=1)
    assert result["failed"]
    assert "exceeded quota: small" in result["msg"]
    assert shop.backend() == "booking-r2"
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r2"}
    assert shop.release("planned", shop.set(image="shop:2"))["changed"] is False


@pytest.mark.parametrize("step", ["rest", "conclude"])
def test_a_rollback_that_fails_after_the_switch_is_taken_back_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    shop.deploy(shop.set(workloads=("booking", "queue"), extra=("first",)))
    shop.deploy(shop.set(image="shop:2", extra=("second",)))
    kinds = "deploy,svc,cm,job,httproute,quota,netpol"
    before = shop.kubectl.names(kinds, shop.namespace)
    real = getattr(_undo, step)

    def fails_once(*arguments: Any) -> None:
        monkeypatch.setattr(_undo, step, real)
        raise PlatformError("the API server went away")

    monkeypatch.setattr(_undo, step, fails_once)
    result = shop.release("rolled_back", to_revision=1)
    assert result["msg"] == "the API server went away"
    assert shop.backend() == "booking-r2"
    # Of a revision's Jobs what exists stays; the way back never runs one anew.
    assert shop.kubectl.names(kinds, shop.namespace) == (before - {"Job/migrate-r2"} if step == "conclude" else before)
    plan = shop.release("planned", shop.set(image="shop:2", extra=("second",)))
    assert (plan["revision"], plan["changed"], plan["kept"]) == ("r2", False, [1, 2])
    assert shop.release("rolled_back", to_revision=1)["current"] == 1


def test_a_route_back_that_the_gateway_does_not_answer_leaves_both_standing(shop: Shop, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.deploy(shop.set())
    shop.deploy(shop.set(image="shop:2"))
    monkeypatch.setattr(_undo, "_GO_BACK_SECONDS", 1.0)
    gateway.refuse.add(shop.namespace)
    # The revision itself has to come up in that time.
    result = shop.release("rolled_back", to_revision=1, wait_timeout=30)
    assert "gateway" in result["msg"]
    assert "; what this run had changed could not be taken back: " in result["msg"]
    # Nobody knows which of the two the gateway sends customers to: both answer.
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1", "Deployment/booking-r2"}
    assert shop.backend() == "booking-r2"
    gateway.refuse.discard(shop.namespace)
    assert shop.release("reverted", previous=2)["current"] == 2
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r2"}
    assert shop.release("planned", shop.set(image="shop:2"))["kept"] == [1, 2]


def test_a_failed_return_to_a_newer_revision_keeps_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.deploy(shop.set())
    shop.deploy(shop.set(image="shop:2"))
    shop.release("rolled_back", to_revision=1)
    shop.release("rolled_back", to_revision=2)
    # As if the gates after it had failed.
    assert shop.release("reverted", previous=1)["kept"] == [1, 2]
    assert shop.backend() == "booking-r1"
    assert shop.release("planned", shop.set())["changed"] is False
    # Where the next run, if it fails, returns to.
    assert shop.release("planned", shop.set(image="shop:3"))["previous"] == 1


def test_a_revision_whose_run_did_not_end_well_is_not_returned_to_by_default(shop: Shop) -> None:
    shop.deploy(shop.set())
    shop.deploy(shop.set(image="shop:2"), until="promoted")
    shop.deploy(shop.set(image="shop:3"))
    assert shop.release("rolled_back")["current"] == 1


def test_limits_that_give_room_come_first_on_the_way_back(shop: Shop) -> None:
    """The revision of a larger tier does not fit beside the one that serves before it has its quota back."""
    shop.deploy(shop.set(pods="3", workloads=("booking", "queue")))
    shop.deploy(shop.set(image="shop:2", pods="3", job=False))
    shop.deploy(shop.set(image="shop:3", pods="2", job=False))
    assert shop.release("rolled_back", to_revision=1)["current"] == 1
    assert shop.kubectl.json("quota", "tier", "-n", shop.namespace)["spec"]["hard"]["pods"] == "3"


def test_two_tenants_do_not_touch_each_other(shops: Callable[[], Shop]) -> None:
    one, two = shops(), shops()
    one.deploy(one.set())
    two.deploy(two.set())
    before = two.versions()
    one.deploy(one.set(image="shop:2"))
    one.release("rolled_back", to_revision=1)
    one.tenant(state="absent", confirm=one.name)
    assert two.versions() == before


@pytest.mark.parametrize("until", ["staged", "promoted", "monitored"])
def test_a_run_killed_after_a_state_is_finished_by_the_next(shop: Shop, until: str) -> None:
    shop.deploy(shop.set())
    new = shop.set(image="shop:2")
    shop.deploy(new, until=until)
    plan = shop.release("planned", new)
    assert (plan["revision"], plan["changed"], plan["previous"]) == ("r2", True, 1)
    shop.deploy(new)
    assert shop.release("planned", new)["changed"] is False
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r2"}


def test_a_killed_run_is_superseded_by_other_content(shop: Shop) -> None:
    shop.deploy(shop.set())
    shop.deploy(shop.set(image="shop:2", extra=("left",)), until="staged")
    new = shop.set(image="shop:3")
    assert shop.release("planned", new)["revision"] == "r3"
    done = shop.deploy(new)
    assert (done["kept"], done["current"]) == ([1, 3], 3)
    assert shop.kubectl.names("deploy,job", shop.namespace) == {"Deployment/booking-r3", "Job/migrate-r3"}
    assert "ConfigMap/left" not in shop.kubectl.names("cm", shop.namespace)


def test_a_killed_run_can_be_taken_back_by_deploying_what_runs(shop: Shop) -> None:
    old = shop.set()
    shop.deploy(old)
    shop.deploy(shop.set(image="shop:2"), until="staged")
    plan = shop.release("planned", old)
    assert (plan["revision"], plan["changed"]) == ("r1", True)
    shop.deploy(old)
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1"}
    assert shop.release("planned", old)["changed"] is False


def test_a_route_that_the_gateway_does_not_answer_fails_with_its_state(shop: Shop, gateway: Gateway) -> None:
    gateway.refuse.add(shop.namespace)
    objects = shop.set()
    shop.deploy(objects, until="staged")
    result = shop.release("promoted", objects, wait_timeout=2)
    said = rf"HTTPRoute {shop.namespace}/main is not ready after \d+ s: gateway {shop.namespace}/barberpro has not answered yet"
    assert re.fullmatch(said, result["msg"]), result["msg"]
    assert result["failures"][0]["final"] is False


def test_a_first_deploy_is_never_removed_once_it_was_finished(shop: Shop) -> None:
    shop.deploy(shop.set())
    result = shop.release("reverted")
    assert "this was no first deploy" in result["msg"]
    assert shop.backend() == "booking-r1"
