"""A tenant that leaves keeps all other runs off until nothing is left of it, also when its offboarding was killed; and touches nobody else's lease."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.run_identity import run_identity
from ansible_collections.barberpro.platform.plugins.modules import fleet, offboarding, tenant, transaction

from tests.support.kept_objects import Kept, kept_objects
from tests.support.loopback import Request
from tests.support.modules import call

SYSTEM = "/api/v1/namespaces/barberpro-system"
JOURNAL = f"{SYSTEM}/secrets/journal-a"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases/tenant-a"
NAMESPACE = "/api/v1/namespaces/tenant-a"
TENANT = {"barberpro.platform/tenant": "a"}
OFFBOARDED = (
    "tenant a is being offboarded since 2026-11-26 18:00:00 UTC by eva@runner-1, whose run did not come to its end: finish it with "
    "offboard_tenant.yml. Nothing was changed by this run"
)


def who(operation: str, name: str, *, alive: bool = True, **more: Any) -> dict[str, Any]:
    """Return the identity of a run; one that is not alive was a process of this machine."""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True).stdout
    dead = {} if alive else {"pid": int(gone), "pid_started": 1}
    return {**run_identity("a", operation), "id": name, "content": operation, **dead, **more}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with kept_objects(tmp_path) as found:
        found.put(NAMESPACE, {"metadata": {"name": "tenant-a", "labels": TENANT}, "status": {"phase": "Active"}})
        found.put(f"{SYSTEM}/configmaps/report-a", {"metadata": {"name": "report-a", "namespace": "barberpro-system", "labels": TENANT}})
        yield found


def ask(kept: Kept, module: Any, **options: Any) -> dict[str, Any]:
    check = bool(options.pop("check", False))
    return call(module, {"kubeconfig": kept.kubeconfig, "name": "a", **options}, check=check)


def on(kept: Kept, run: dict[str, Any], state: str, **options: Any) -> dict[str, Any]:
    return ask(kept, transaction, run=run, state=state, **options)


def journal(kept: Kept) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(kept.objects[JOURNAL]["data"]["journal"]))
    return found


def holder(kept: Kept) -> str | None:
    name: str | None = kept.objects[LEASE]["spec"]["holderIdentity"]
    return name


def killed_offboarding(kept: Kept, *, removing: bool = True) -> None:
    """A deploy was killed while it tried migrations and while it took a backup; then an offboarding of it was killed, before or while it removed."""
    deploy = who("deploy", "deploy", alive=False)
    on(kept, deploy, "intended", step="rehearsal", undo={"schema": "x_0123456789abcdef0123"})
    on(kept, deploy, "intended", step="backup", undo={"backup": "before-7"})
    eva = who("offboard", "eva", alive=False, user="eva", began="2026-11-26 18:00:00 UTC")
    begun = on(kept, eva, "begun")
    assert not begun.get("failed"), begun
    if removing:
        on(kept, eva, "intended", step="removed")
    # Its process is one of this machine, so its lease is free; it is told as one of another.
    document = journal(kept)
    document["run"]["host"] = "runner-1"
    kept.put(JOURNAL, {**kept.objects[JOURNAL], "data": {"journal": base64.b64encode(json.dumps(document).encode()).decode()}})


def test_an_offboarding_goes_on_with_what_a_killed_run_has_left(kept: Kept) -> None:
    killed_offboarding(kept)
    again = who("offboard", "again")
    left = on(kept, again, "inspected")
    assert (left["next"], left["fence"], left["left_by"]) == ("adopt", 2, "eva@runner-1 (offboard since 2026-11-26 18:00:00 UTC)")
    begun = on(kept, {**again, "fence": left["fence"]}, "begun")
    assert {step["step"]: (step["undo"], step["done"]) for step in begun["journal"]["steps"]} == {
        "rehearsal": ({"schema": "x_0123456789abcdef0123"}, None),
        "backup": ({"backup": "before-7"}, None),
        "removed": ({}, None),
    }
    assert (begun["journal"]["run"]["operation"], begun["journal"]["run"]["id"], holder(kept)) == ("offboard", "again", "again")


@pytest.mark.parametrize("state", ["inspected", "begun", "intended"])
def test_a_deploy_that_meets_a_killed_offboarding_is_told_so(kept: Kept, state: str) -> None:
    killed_offboarding(kept)
    before = journal(kept)
    assert on(kept, who("deploy", "deploy-2"), state, **({"step": "staged"} if state == "intended" else {}))["msg"] == OFFBOARDED
    assert journal(kept) == before


def test_a_deploy_lets_a_tenant_live_whose_offboarding_was_killed_before_it_removed_anything(kept: Kept) -> None:
    # As when a legal hold has come: the offboarding is refused from then on, and its customers must not be kept out until the hold has ended.
    killed_offboarding(kept, removing=False)
    left = on(kept, who("deploy", "deploy-2"), "inspected")
    assert (left["next"], left["left_by"]) == ("undo", "eva@runner-1 (offboard since 2026-11-26 18:00:00 UTC)")
    begun = on(kept, who("deploy", "deploy-2"), "begun")
    assert [step["step"] for step in begun["journal"]["steps"]] == ["rehearsal", "backup"]


HELD = {"metadata": {"name": "tenant-a", "labels": TENANT, "annotations": {"barberpro.platform/legal-hold": "case 7"}}}


@pytest.mark.parametrize("check", [False, True])
def test_a_tenant_under_a_legal_hold_is_not_removed(kept: Kept, check: bool) -> None:
    kept.put(NAMESPACE, HELD)
    told = ask(kept, tenant, state="absent", confirm="a", check=check)
    assert told["msg"] == (
        "Namespace tenant-a is under a legal hold (case 7): nothing was removed. When it has ended, remove the annotation "
        "barberpro.platform/legal-hold, then run this again"
    )
    assert kept.writes() == []


def test_a_legal_hold_that_comes_in_the_last_moment_is_heeded(kept: Kept) -> None:
    def held(request: Request) -> None:
        if request.method == "DELETE" and request.path == NAMESPACE:
            kept.before = lambda _request: None
            kept.put(NAMESPACE, HELD)

    kept.before = held
    told = ask(kept, tenant, state="absent", confirm="a")
    assert told["msg"].startswith("Namespace tenant-a has been put under a legal hold (case 7) and stays.")
    assert NAMESPACE in kept.objects


def test_a_legal_hold_that_comes_while_the_namespace_goes_stops_before_the_rest(kept: Kept) -> None:
    def going(request: Request) -> None:
        if request.method == "GET" and request.path == NAMESPACE and NAMESPACE not in kept.objects:
            # Deleted, but its pods are still ending.
            kept.put(NAMESPACE, {"metadata": {**HELD["metadata"], "deletionTimestamp": "t"}})

    kept.before = going
    told = ask(kept, tenant, state="absent", confirm="a", wait_timeout=60)
    assert "has been put under a legal hold (case 7) while it was being deleted" in told["msg"], told
    assert told["msg"].endswith("all else of the tenant is as it was. The annotation goes too: set legal_hold in the inventory")


def test_a_fleet_that_meets_a_killed_offboarding_leaves_the_tenant_alone(kept: Kept) -> None:
    killed_offboarding(kept)
    written = len(kept.writes())
    metadata = {"name": "tenant-a", "labels": TENANT, "annotations": {"barberpro.platform/phase": "infrastructure"}}
    tenants = [{"name": "a", "objects": [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}]}]
    for run in (who("deploy", "fleet"), None):
        told = call(fleet, {"kubeconfig": kept.kubeconfig, "tenants": tenants, **({"run": run} if run else {})})
        assert told["tenants"][0]["msg"] == OFFBOARDED
    assert len(kept.writes()) == written


def test_a_run_that_began_after_the_offboarding_looked_keeps_its_tenant(kept: Kept) -> None:
    leaving = who("offboard", "eva")
    leaving["fence"] = on(kept, leaving, "inspected")["fence"]
    colleague = who("deploy", "ana")
    on(kept, colleague, "intended", step="staged")
    on(kept, colleague, "ended")
    assert "another run has changed it since this one looked at it" in on(kept, leaving, "begun")["msg"]
    assert journal(kept)["run"]["id"] == "ana"


def test_lease_and_journal_go_last(kept: Kept) -> None:
    leaving = who("offboard", "eva")
    on(kept, leaving, "begun")
    removed = ask(kept, tenant, state="absent", confirm="a", run=leaving)
    assert not removed.get("failed"), removed
    assert NAMESPACE not in kept.objects
    assert (holder(kept), [step["step"] for step in journal(kept)["steps"]]) == ("eva", ["removed"])
    assert "tenant a is being changed by " in on(kept, who("deploy", "ana"), "inspected")["msg"]
    before = len(kept.writes())
    swept = ask(kept, offboarding, state="swept", run=leaving)
    assert kept.writes()[before:] == [f"PUT {LEASE}", f"DELETE {SYSTEM}/configmaps/report-a", f"DELETE {JOURNAL}", f"DELETE {LEASE}"]
    assert len(swept["removed"]) == 3
    assert kept.objects == {}


@pytest.mark.parametrize("state", ["noted", "swept"])
def test_an_offboarding_that_has_lost_its_lease_stops(kept: Kept, state: str) -> None:
    leaving = who("offboard", "eva", alive=False)
    on(kept, leaving, "begun")
    on(kept, who("offboard", "ana"), "begun")
    objects = dict(kept.objects)
    told = ask(kept, offboarding, state=state, step="key", run=leaving)
    assert "another run has changed it since this one looked at it, so this one stops before its next write" in told["msg"]
    assert kept.objects == objects


def test_removing_a_tenant_leaves_the_lease_of_a_run_that_has_begun_since(kept: Kept) -> None:
    ana = who("deploy", "ana", user="ana", host="runner-7", began="now")

    def ana_deploys(request: Request) -> None:
        if request.method == "DELETE" and request.path == NAMESPACE:
            kept.before = lambda _request: None
            on(kept, ana, "intended", step="infrastructure")

    kept.before = ana_deploys
    told = ask(kept, tenant, state="absent", confirm="a")
    assert told["msg"] == "tenant a was removed, and ana@runner-7 (deploy since now) has begun to change it since: its lease and its journal stay"
    assert (holder(kept), journal(kept)["run"]["id"]) == ("ana", "ana")


def test_removing_a_tenant_removes_a_lease_that_nobody_holds(kept: Kept) -> None:
    on(kept, who("deploy", "killed", alive=False), "intended", step="staged")
    assert ask(kept, tenant, state="absent", confirm="a")["changed"] is True
    assert {JOURNAL, LEASE} & set(kept.objects) == set()
