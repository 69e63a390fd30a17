"""Runs that have nothing left: nothing to write any more, no record of what served, or only a namespace."""

from __future__ import annotations

import pytest

from .conftest import Kubectl, Shop
from .test_transaction import Operator, dead, journal, lease

pytestmark = pytest.mark.simulated


def test_a_run_that_finds_all_done_closes_the_journal_that_it_went_on_with(shop: Shop, kubectl: Kubectl) -> None:
    """What the playbook does at its end: else the next run would undo what has succeeded."""
    killed = dead(shop, shop.set())
    killed.plan()
    assert not shop.tenant(killed.objects, run=killed.run).get("failed")
    again = Operator(shop, killed.objects)
    again.plan()
    assert again.transaction("inspected")["next"] == "adopt"
    assert not shop.tenant(again.objects, run=again.run)["changed"]
    assert journal(kubectl, shop)["run"]["id"] == killed.run["id"]
    # Nothing of this one is in it yet.
    assert again.transaction("ended")["changed"] is False
    assert not again.transaction("begun").get("failed")
    assert again.transaction("ended")["changed"] is True
    found = journal(kubectl, shop)
    assert (found["outcome"], found["run"]["id"], [step["step"] for step in found["steps"]]) == ("succeeded", again.run["id"], ["infrastructure"])
    assert not lease(kubectl, shop).get("holderIdentity")


@pytest.mark.parametrize("lost", ["the record", "all that is kept"])
def test_a_tenant_of_which_the_record_is_lost_is_not_removed_by_a_deploy_that_fails(shop: Shop, kubectl: Kubectl, lost: str) -> None:
    for image in ("shop:1", "shop:2"):
        Operator(shop, shop.set(image=image)).deploy()
    named = (f"release-{shop.name}-record",) if lost == "the record" else ("-l", f"barberpro.platform/tenant={shop.name}")
    kubectl("delete", "secret", "-n", "barberpro-system", *named)
    failing = Operator(shop, shop.set(image="shop:3"))
    assert failing.plan()["previous"] is None
    assert not shop.tenant(failing.objects, run=failing.run).get("failed")
    assert journal(kubectl, shop)["unrecorded"] is True
    assert not shop.release("staged", failing.objects, run=failing.run).get("failed")
    failing.transaction("begun")
    said = (
        f"tenant {shop.name}: namespace {shop.namespace} was there before this deploy, and Secret barberpro-system/release-{shop.name}-record, which would "
        "say what served in it, was not: nothing is removed, and what this run has changed stays beside it until a deploy succeeds"
    )
    assert shop.release("reverted", run=failing.run)["msg"] == said
    failing.transaction("ended", outcome="open")
    assert "Deployment/booking-r2" in kubectl.names("deploy", shop.namespace)
    assert shop.backend() == "booking-r2"
    # Nor by one that goes on with it, now that there is a record again.
    again = Operator(shop, failing.objects)
    again.plan()
    assert again.transaction("inspected")["next"] == "adopt"
    again.transaction("begun")
    assert shop.release("reverted", run=again.run)["msg"] == said
    assert again.deploy() == "none"
    assert journal(kubectl, shop)["outcome"] == "succeeded"


def test_a_namespace_that_was_made_beforehand_goes_with_the_first_deploy_that_fails(shop: Shop, kubectl: Kubectl) -> None:
    assert not shop.tenant(shop.set()).get("failed")
    failing = Operator(shop, shop.set())
    failing.plan()
    assert not shop.release("staged", failing.objects, run=failing.run).get("failed")
    assert journal(kubectl, shop)["unrecorded"] is False
    assert shop.release("reverted", run=failing.run)["removed_tenant"] is True
    assert kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""
