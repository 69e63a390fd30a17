"""A fleet that was killed, or whose undo failed, is called again: with the same, with other content, and to go back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _undo
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

from tests.support.kills import TIMEOUT, points

from .conftest import Gateway, Kubectl, Shop
from .test_fleet import call, results
from .test_killed import state
from .test_transaction import dead, journal, lease

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(TIMEOUT), pytest.mark.slow]


def who(shop: Shop, name: str, operation: str = "deploy") -> dict[str, Any]:
    """The identity of a call whose process has ended, so that the next finds its lease free."""
    return {**dead(shop, []).run, "id": name, "operation": operation}


def assert_closed(kubectl: Kubectl, shop: Shop) -> None:
    assert journal(kubectl, shop)["closed"], journal(kubectl, shop)
    assert not lease(kubectl, shop).get("holderIdentity")


def ended_itself(kubectl: Kubectl, shop: Shop, run: dict[str, Any]) -> bool:
    """Whether a run was killed when its journal already said that it was at its end, so that only its lease was left."""
    found = journal(kubectl, shop)
    return bool(found["closed"] and found["run"]["id"] == run["id"])


@pytest.mark.parametrize("same", [True, False])
def test_a_deploy_killed_at_its_writes(shops: Callable[[], Shop], kubectl: Kubectl, same: bool) -> None:
    """Called again with the same content it is gone on with, with other content undone first; `make crash` tries all points."""
    shop = shops()
    call([shop], [shop.set()], run=who(shop, "first"))
    recovered = []
    for point in points():
        number = point.number
        wanted, run = shop.set(image=f"shop:killed-{number}", extra=("left-behind",)), who(shop, f"killed-{number}")
        if not point.kills(partial(call, [shop], [wanted], run=run)):
            continue
        after = wanted if same else shop.set(image=f"shop:after-{number}")
        told = call([shop], [after], run=who(shop, f"after-{number}"))
        if same and ended_itself(kubectl, shop, run):
            assert results(told) == ["unchanged"], told
            continue
        item = told["tenants"][0]
        assert item["result"] == "changed", told
        recovered.append(item.get("recovered", "").rpartition("was first ")[2])
        found = state(shop)
        revision = f"booking-{item['revision']}"
        assert found["backend"] == revision
        configs = {"ConfigMap/left-behind"} if same else set()
        assert {name for name in found["names"] if name.startswith(("Deployment", "ConfigMap"))} == {f"Deployment/{revision}"} | configs
        assert (found["finished"], found["pending"], found["unknown"]) == (True, None, [])
        assert_closed(kubectl, shop)
        assert results(call([shop], [after], run=who(shop, f"again-{number}"))) == ["unchanged"]
    assert recovered.count("gone on with" if same else "undone") >= len(recovered) // 2


def test_a_first_deploy_killed_at_its_writes(shops: Callable[[], Shop], kubectl: Kubectl) -> None:
    for point in points():
        shop = shops()
        if not point.kills(partial(call, [shop], [shop.set(extra=("left-behind",))], run=who(shop, "killed"))):
            continue
        told = call([shop], [shop.set(image="shop:2")], run=who(shop, "after"))
        assert results(told) == ["changed"], told
        assert {name for name in state(shop)["names"] if name.startswith(("Deployment", "ConfigMap"))} == {f"Deployment/{shop.backend()}"}
        assert_closed(kubectl, shop)


@pytest.mark.parametrize("named", [True, False])
def test_a_rollback_killed_at_its_writes_goes_back_once(shops: Callable[[], Shop], kubectl: Kubectl, named: bool) -> None:
    """Whether the killed one had got nowhere or had come to its very end, the next ends at the revision that was asked for, and not at one before."""
    shop = shops()
    for image in ("shop:1", "shop:2"):
        call([shop], [shop.set(image=image)], run=who(shop, image))
    for point in points():
        number = point.number
        call([shop], [shop.set(image=f"shop:next-{number}")], run=who(shop, f"next-{number}"))
        # The newest that is kept before the one that serves.
        target = int(shop.backend().removeprefix("booking-r")) - 1
        options: dict[str, Any] = {"state": "rolled_back", **({"to_revision": target} if named else {})}
        if not point.kills(partial(call, [shop], run=who(shop, f"killed-{number}", "roll back"), **options)):
            continue
        if ended_itself(kubectl, shop, {"id": f"killed-{number}"}):
            # Another call would be another return.
            assert shop.backend() == f"booking-r{target}"
            continue
        told = call([shop], run=who(shop, f"after-{number}", "roll back"), **options)
        assert results(told) == ["changed"], told
        assert told["tenants"][0]["revision"] == f"r{target}"
        found = state(shop)
        assert (found["backend"], found["finished"], found["pending"]) == (f"booking-r{target}", True, None)
        assert {name for name in found["names"] if name.startswith("Deployment")} == {f"Deployment/booking-r{target}"}
        assert_closed(kubectl, shop)


def test_a_rollback_after_a_deploy_that_was_killed_goes_back_once(shops: Callable[[], Shop], kubectl: Kubectl) -> None:
    """Who asks for the revision before means the one before what serves at that moment, whether the killed deploy had moved the route or not."""
    shop = shops()
    ended, moved = set(), set()
    for image in ("shop:1", "shop:2"):
        ended.add(call([shop], [shop.set(image=image)], run=who(shop, image))["tenants"][0]["revision"])
    for point in points():
        number = point.number
        before = call([shop], [shop.set(image=f"shop:next-{number}")], run=who(shop, f"next-{number}"))["tenants"][0]["revision"]
        ended.add(before)
        if not point.kills(partial(call, [shop], [shop.set(image=f"shop:killed-{number}")], run=who(shop, f"killed-{number}"))):
            continue
        serving = shop.backend().removeprefix("booking-")
        target = max((name for name in ended if int(name[1:]) < int(serving[1:])), key=lambda name: int(name[1:]))
        if state(shop)["finished"]:
            ended.add(serving)
        moved.add(serving != before)
        dry = call([shop], state="rolled_back", run=who(shop, f"dry-{number}", "roll back"), check=True)
        told = call([shop], state="rolled_back", run=who(shop, f"back-{number}", "roll back"))
        assert results(told) == ["changed"], told
        assert [dry["tenants"][0]["revision"], told["tenants"][0]["revision"], shop.backend()] == [target, target, f"booking-{target}"]
        assert_closed(kubectl, shop)
    assert moved == {True, False}


def test_a_rollback_that_fails_is_undone_and_can_be_tried_again(shops: Callable[[], Shop], kubectl: Kubectl) -> None:
    shop = shops()
    for image in ("shop:1", "shop:2"):
        call([shop], [shop.set(image=image)], run=who(shop, image))
    with mock.patch.object(_undo, "conclude", side_effect=PlatformError("the disk of the API server is full; free some")):
        told = call([shop], state="rolled_back", run=who(shop, "fails", "roll back"))
    item = told["tenants"][0]
    assert (item["result"], item["undone"], item["undo_msg"]) == ("failed", True, "returned to r2")
    assert "the disk of the API server is full; free some (returned to r2)" in told["msg"]
    assert (shop.backend(), journal(kubectl, shop)["outcome"]) == ("booking-r2", "undone")
    assert_closed(kubectl, shop)
    told = call([shop], state="rolled_back", run=who(shop, "again", "roll back"))
    assert results(told) == ["changed"], told
    assert "recovered" not in told["tenants"][0]
    assert shop.backend() == "booking-r1"


def test_what_could_not_be_undone_is_undone_by_the_next(shops: Callable[[], Shop], kubectl: Kubectl, gateway: Gateway) -> None:
    shop = shops()
    for image in ("shop:1", "shop:2"):
        call([shop], [shop.set(image=image)], run=who(shop, image))
    gateway.refuse.add(shop.namespace)
    try:
        told = call([shop], state="rolled_back", run=who(shop, "fails", "roll back"), wait_timeout=4)
    finally:
        gateway.refuse.discard(shop.namespace)
    assert told["tenants"][0]["undone"] is False, told
    assert journal(kubectl, shop)["closed"] is None
    assert not lease(kubectl, shop).get("holderIdentity")
    before = shop.versions()
    dry = call([shop], [shop.set(image="shop:3")], run=who(shop, "dry"), check=True)
    assert dry["tenants"][0]["recovered"].endswith("was killed; it would first be undone")
    assert shop.versions() == before
    told = call([shop], [shop.set(image="shop:3")], run=who(shop, "other"))
    assert results(told) == ["changed"], told
    assert told["tenants"][0]["recovered"].endswith("was killed; it was first undone")
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r3"}
    assert_closed(kubectl, shop)


def test_more_than_objects_is_left_to_the_playbooks(shops: Callable[[], Shop], kubectl: Kubectl) -> None:
    shop, other = shops(), shops()
    call([shop], [shop.set()], run=who(shop, "first"))
    operator = dead(shop, [])
    operator.run["id"] = "vertical"
    operator.transaction("begun")
    operator.transaction("intended", step="database", undo={"schema": "t_x", "existed": True})
    before = shop.versions()
    told = call([shop, other], [shop.set(image="shop:2"), other.set()], run=who(shop, "fleet"))
    assert results(told) == ["failed", "changed"], told
    assert told["tenants"][0]["msg"].endswith(
        "was killed and has begun more than objects (database); run deploy_vertical.yml or rollback_vertical.yml, which clear that up"
    )
    told = call([shop], [shop.set(image="shop:2")])
    assert "was killed and is not cleared up; run deploy_vertical.yml or rollback_vertical.yml, which do that first" in told["msg"]
    assert shop.versions() == before


def test_the_journal_says_what_served_before(shops: Callable[[], Shop], kubectl: Kubectl) -> None:
    """By this the playbooks find the way back of a fleet that was killed."""
    shop = shops()
    call([shop], [shop.set()], run=who(shop, "one"))
    assert journal(kubectl, shop)["previous"] is None
    call([shop], [shop.set(image="shop:2")], run=who(shop, "two"))
    assert journal(kubectl, shop)["previous"] == 1
