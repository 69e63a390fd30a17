"""The lease and the journal: one run at a time, and whatever a killed run left is finished or undone by the next."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.run_identity import run_identity
from ansible_collections.barberpro.platform.plugins.module_utils import _lease
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run
from ansible_collections.barberpro.platform.plugins.modules import offboarding, stage_gate, transaction

from tests.support import modules
from tests.support.kills import TIMEOUT, Killed, Killer, points

from .conftest import Kubectl, Shop
from .test_killed import state

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(TIMEOUT)]
SETTINGS = {"state": "staged", "wait_timeout": 30, "preflight_namespace": "barberpro-preflight", "keep": 10}


class Operator:
    """One run on a tenant: the calls that the playbook makes, in its order."""

    def __init__(self, shop: Shop, objects: list[dict[str, Any]], **who: Any) -> None:
        self.shop = shop
        self.objects = objects
        self.run = {**run_identity(shop.name, "deploy"), **who}

    def transaction(self, state: str, **options: Any) -> dict[str, Any]:
        return modules.call(transaction, {"name": self.shop.name, "kubeconfig": self.shop.kubeconfig, "run": self.run, "state": state, **options})

    def plan(self) -> dict[str, Any]:
        plan = self.shop.release("planned", self.objects)
        assert not plan.get("failed"), plan
        self.run |= {"content": plan["content_hash"], "previous": plan["previous"], "fence": plan["fence"]}
        return plan

    def recover(self, left: dict[str, Any]) -> None:
        journal = self.transaction("begun")["journal"]
        if left["next"] == "finish":
            result = self.shop.release("finished", run=self.run)
        else:
            previous = {} if journal["previous"] is None else {"previous": journal["previous"]}
            result = self.shop.release("reverted", run=self.run, **previous)
        assert not result.get("failed"), result
        self.transaction("ended", outcome="succeeded" if left["next"] == "finish" else "undone")

    def deploy(self) -> str:
        """Deploy and return what was done with an earlier run's journal."""
        self.plan()
        left = self.transaction("inspected")
        assert not left.get("failed"), left
        if left["next"] in ("undo", "finish"):
            self.recover(left)
            self.plan()
        result = self.shop.tenant(self.objects, run=self.run)
        assert not result.get("failed"), result
        for step in ("staged", "promoted", "monitored", "finished"):
            result = self.shop.release(step, self.objects, run=self.run)
            assert not result.get("failed"), result
        self.transaction("ended")
        return str(left["next"])


def dead(shop: Shop, objects: list[dict[str, Any]]) -> Operator:
    """Return an operator whose process on this machine has ended: what a SIGKILL leaves."""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    return Operator(shop, objects, pid=int(gone.stdout), pid_started=1)


def journal(kubectl: Kubectl, shop: Shop) -> dict[str, Any]:
    data = kubectl("get", "secret", f"journal-{shop.name}", "-n", "barberpro-system", "-o", "go-template={{index .data.journal | base64decode}}")
    found: dict[str, Any] = json.loads(data)
    return found


def lease(kubectl: Kubectl, shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.json("lease", f"tenant-{shop.name}", "-n", "barberpro-system")["spec"]
    return found


def test_a_deploy_leaves_a_closed_journal_and_a_free_lease(shop: Shop, kubectl: Kubectl) -> None:
    operator = Operator(shop, shop.set())
    assert operator.deploy() == "none"
    document = journal(kubectl, shop)
    assert [step["step"] for step in document["steps"]] == ["infrastructure", "staged", "promoted", "monitored", "finished"]
    assert all(step["intended"] <= step["done"] for step in document["steps"])
    assert document["outcome"] == "succeeded"
    assert document["previous"] is None
    assert "holderIdentity" not in lease(kubectl, shop)


def test_a_run_that_changes_nothing_writes_neither(shop: Shop, kubectl: Kubectl) -> None:
    Operator(shop, shop.set()).deploy()
    before = (kubectl.json("secret", f"journal-{shop.name}", "-n", "barberpro-system"), lease(kubectl, shop), shop.versions())
    again = Operator(shop, shop.set())
    assert again.plan()["changed"] is False
    assert again.transaction("inspected")["next"] == "none"
    assert not shop.tenant(again.objects, run=again.run)["changed"]
    for step in ("staged", "promoted", "monitored", "finished"):
        assert not shop.release(step, again.objects, run=again.run)["changed"]
    assert (kubectl.json("secret", f"journal-{shop.name}", "-n", "barberpro-system"), lease(kubectl, shop), shop.versions()) == before


def test_a_tenant_that_leaves_keeps_lease_and_journal_to_the_end(shop: Shop, kubectl: Kubectl) -> None:
    Operator(shop, shop.set()).deploy()
    leaving = dead(shop, [])
    leaving.run |= {"operation": "offboard", "content": "offboard"}
    leaving.run["fence"] = leaving.transaction("inspected")["fence"]
    assert not leaving.transaction("begun").get("failed")
    removed = shop.tenant(state="absent", confirm=shop.name, run=leaving.run)
    assert removed["changed"], removed
    assert [step["step"] for step in journal(kubectl, shop)["steps"]] == ["removed"]
    deploy = Operator(shop, shop.set())
    refused = deploy.transaction("inspected")
    assert f"tenant {shop.name} is being offboarded since {leaving.run['began']} by " in refused["msg"]
    again = Operator(shop, [], operation="offboard", content="offboard")
    assert again.transaction("inspected")["next"] == "adopt"
    assert not again.transaction("begun").get("failed")
    asked = {"name": shop.name, "kubeconfig": shop.kubeconfig, "state": "swept", "run": again.run}
    assert len(modules.call(offboarding, asked)["removed"]) == 2
    assert kubectl.names("secrets,leases,configmaps", "barberpro-system") & {f"Secret/journal-{shop.name}", f"Lease/tenant-{shop.name}"} == set()
    assert deploy.deploy() == "none"


def test_two_runs_at_once_the_second_is_told_who_is_at_work(shop: Shop, shops: Any, kubectl: Kubectl) -> None:
    first = Operator(shop, shop.set(), user="ana", host="runner-7", began="2026-11-23 10:00:00 UTC")
    first.plan()
    assert not shop.tenant(first.objects, run=first.run).get("failed")
    second = Operator(shop, shop.set(image="shop:2"))
    second.plan()
    before = shop.versions()
    for result in (second.transaction("inspected"), shop.release("staged", second.objects, run=second.run), second.transaction("begun")):
        assert result["failed"]
        assert result["msg"].startswith(
            f"tenant {shop.name} is being changed by ana@runner-7 (deploy since 2026-11-23 10:00:00 UTC); nothing was changed by this run. "
            f"Wait for its end; if its machine is gone, its lease (Lease barberpro-system/tenant-{shop.name}) ends by itself in at most 1"
        )
    assert shop.versions() == before
    # Another tenant is nobody's business here.
    other = shops()
    assert Operator(other, other.set()).deploy() == "none"
    # The first run goes on undisturbed.
    for step in ("staged", "promoted", "monitored", "finished"):
        assert not shop.release(step, first.objects, run=first.run).get("failed")
    first.transaction("ended")
    assert second.deploy() == "none"
    assert shop.backend() == "booking-r2"


def test_a_tenant_that_is_worked_on_is_not_removed_and_a_removed_one_leaves_nothing(shop: Shop, kubectl: Kubectl) -> None:
    operator = Operator(shop, shop.set(), host="another-machine")
    operator.plan()
    shop.tenant(operator.objects, run=operator.run)
    refused = shop.tenant(state="absent", confirm=shop.name)
    assert refused["msg"].startswith(f"tenant {shop.name} is being changed by ")
    assert kubectl("get", "namespace", shop.namespace, "-o", "name")
    operator.transaction("ended")
    assert shop.tenant(state="absent", confirm=shop.name)["changed"]
    assert kubectl("get", "lease,secret", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={shop.name}", "-o", "name") == ""


def test_a_lease_ends_by_itself_whatever_the_runners_clock_says(shop: Shop, kubectl: Kubectl) -> None:
    first = Operator(shop, shop.set(), host="another-machine")
    first.plan()
    shop.tenant(first.objects, run=first.run)
    second = Operator(shop, shop.set(image="shop:2"))
    second.plan()
    assert second.transaction("inspected")["failed"]
    past = json.dumps({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
    kubectl("patch", "lease", f"tenant-{shop.name}", "-n", "barberpro-system", "--type=merge", "-p", past)
    assert second.deploy() == "undo"
    revision = state(shop)["backend"]
    # The one that lost it is stopped before it writes: at its next step, and at the way back.
    before = shop.versions()
    for late in (shop.release("staged", first.objects, run=first.run), first.transaction("begun")):
        assert late["msg"] == superseded(shop)
    assert shop.versions() == before
    assert shop.backend() == revision


def superseded(shop: Shop) -> str:
    """What a run is told when another has changed the tenant."""
    return (
        f"tenant {shop.name}: another run has changed it since this one looked at it, so this one stops before its next write; "
        "run it again: it begins with what is there now"
    )


def test_what_a_run_saw_before_another_changed_the_tenant_is_not_written(shop: Shop) -> None:
    Operator(shop, shop.set()).deploy()
    slow = Operator(shop, shop.set(image="shop:2"))
    assert slow.plan()["previous"] == 1
    Operator(shop, shop.set(image="shop:3")).deploy()
    before = shop.versions()
    assert shop.release("staged", slow.objects, run=slow.run)["msg"] == superseded(shop)
    assert shop.versions() == before
    assert slow.deploy() == "none"
    assert shop.backend() == "booking-r3"


def test_what_a_run_saw_while_another_was_at_work_is_not_written(shop: Shop) -> None:
    first = Operator(shop, shop.set())
    first.plan()
    shop.tenant(first.objects, run=first.run)
    second = Operator(shop, shop.set(image="shop:2"))
    assert second.plan()["fence"] == -1
    for step in ("staged", "promoted", "monitored", "finished"):
        shop.release(step, first.objects, run=first.run)
    first.transaction("ended")
    assert shop.release("staged", second.objects, run=second.run)["msg"] == superseded(shop)


def test_a_process_that_stood_still_asks_before_its_next_write(shop: Shop, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = Operator(shop, shop.set())
    plan = operator.plan()
    run = Run(Client.from_options({"kubeconfig": shop.kubeconfig}), {**SETTINGS, "name": shop.name, "objects": operator.objects, "run": operator.run}, False)
    run.engine.absent = shop.namespace
    infrastructure = run.engine.plan([obj for obj in run.asked() if obj["metadata"]["annotations"]["barberpro.platform/phase"] == "infrastructure"])
    with run.transaction.step("staged"):
        run.transaction.touch()
        taken = json.dumps({"spec": {"holderIdentity": "another", "leaseTransitions": 9}})
        kubectl("patch", "lease", f"tenant-{shop.name}", "-n", "barberpro-system", "--type=merge", "-p", taken)
        now = _lease._clock()
        monkeypatch.setattr(_lease, "_clock", lambda: now + 101)
        with pytest.raises(_lease.Held, match="another run has changed it"):
            run.engine.execute(infrastructure)
        # The end of the step is not recorded, as it has none.
        run.transaction._begun = False
    assert plan["new_tenant"]
    assert kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""


def test_a_gate_keeps_the_lease_and_notices_that_it_was_taken(shop: Shop, kubectl: Kubectl) -> None:
    operator = Operator(shop, shop.set())
    operator.plan()
    shop.tenant(operator.objects, run=operator.run)
    past = json.dumps({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
    kubectl("patch", "lease", f"tenant-{shop.name}", "-n", "barberpro-system", "--type=merge", "-p", past)
    asked = {"stage": "containers", "budget_seconds": 60, "checks": [{"check": "cluster"}], "kubeconfig": shop.kubeconfig, "run": operator.run}
    assert modules.call(stage_gate, asked)["stage"]["result"] == "passed"
    assert not lease(kubectl, shop)["renewTime"].startswith("2026-01-01")
    # A run that has not written yet has none to keep.
    assert modules.call(stage_gate, {**asked, "run": {**operator.run, "id": "other"}})["stage"]["result"] == "passed"


def test_a_run_killed_while_it_clears_up_leaves_that_to_the_next(shop: Shop) -> None:
    Operator(shop, shop.set()).deploy()
    first = dead(shop, shop.set(image="shop:2", extra=("left-behind",)))
    first.plan()
    shop.tenant(first.objects, run=first.run)
    shop.release("staged", first.objects, run=first.run)
    second = dead(shop, new := shop.set(image="shop:3"))
    second.plan()
    assert second.transaction("inspected")["next"] == "undo"
    assert second.transaction("begun")["journal"]["run"]["content"] == first.run["content"]
    assert Operator(shop, new).deploy() == "undo"
    assert "ConfigMap/left-behind" not in state(shop)["names"]


@pytest.mark.slow
def test_killed_at_every_write_then_other_content(shop: Shop, kubectl: Kubectl) -> None:
    """By construction all points, those of the lease and the journal among them; the run before is undone or finished, never half there.

    A point takes seconds, so that `make test` tries every fifth, and `make crash` all.
    """
    Operator(shop, shop.set()).deploy()
    seen = set()
    for point in points():
        if not point.kills(dead(shop, shop.set(image=f"shop:killed-{point.number}", extra=("left-behind",))).deploy):
            continue
        seen.add(Operator(shop, objects := shop.set(image=f"shop:after-{point.number}")).deploy())
        found = state(shop)
        revision = shop.release("planned", objects)["revision"]
        assert found["backend"] == f"booking-{revision}"
        assert {name for name in found["names"] if name.startswith(("Deployment", "Job", "ConfigMap"))} == {
            f"Deployment/booking-{revision}",
            f"Job/migrate-{revision}",
        }
        assert (found["finished"], found["pending"], found["unknown"]) == (True, None, [])
        assert journal(kubectl, shop)["outcome"] == "succeeded"
        assert "holderIdentity" not in lease(kubectl, shop)
    assert seen >= {"undo", "finish"}


def test_a_killed_first_deploy_and_then_other_content(shops: Callable[[], Shop]) -> None:
    """Only before the journal is there, and when it is closed, is there nothing to clear up."""
    seen = []
    for point in points(10):
        shop = shops()
        if not point.kills(dead(shop, shop.set(extra=("left-behind",))).deploy):
            continue
        seen.append(Operator(shop, objects := shop.set()).deploy())
        assert not {name for name in state(shop)["names"] if name.startswith("ConfigMap")}
        assert shop.release("planned", objects)["changed"] is False
    assert [following for following in seen if following != "none"] == ["undo"] * seen.count("undo") + ["finish"] * seen.count("finish")
    assert "undo" in seen


@pytest.mark.parametrize("made", ["jobs/migrate-r2", "services/booking-r2"])
def test_killed_when_it_has_made_an_object_anew_and_then_other_content(shop: Shop, kubectl: Kubectl, made: str) -> None:
    """What replaces a failed Job, or what was deleted by hand, has another uid than the record of the run before says."""
    Operator(shop, shop.set()).deploy()
    failing = shop.set(image="shop:2")
    job = next(obj for obj in failing if obj["kind"] == "Job")
    job["spec"]["activeDeadlineSeconds"] = 1
    job["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    first = dead(shop, failing)
    first.plan()
    assert not shop.tenant(failing, run=first.run).get("failed")
    told = shop.release("staged", failing, run=first.run)
    assert "migrate-r2" in told["msg"], told
    kubectl("wait", "--for=condition=Failed", "job/migrate-r2", "-n", shop.namespace, "--timeout=30s")
    plural, _slash, name = made.partition("/")
    before = kubectl.json(plural, name, "-n", shop.namespace)["metadata"]["uid"]
    if plural == "services":
        kubectl("delete", plural, name, "-n", shop.namespace)
    with Killer(1, lambda method, path: method == "PATCH" and f"/{made}?" in path)(), pytest.raises(Killed):
        dead(shop, failing).deploy()
    assert kubectl.json(plural, name, "-n", shop.namespace)["metadata"]["uid"] != before
    assert Operator(shop, shop.set(image="shop:3")).deploy() == "undo"
    assert kubectl.names("deploy,svc,job", shop.namespace) == {"Deployment/booking-r3", "Service/booking-r3", "Job/migrate-r3"}
    assert state(shop)["unknown"] == []


def test_a_step_that_is_intended_again_keeps_what_its_undo_needs(shop: Shop) -> None:
    killed = dead(shop, shop.set())
    killed.plan()
    killed.transaction("intended", step="database", undo={"existed": False})
    again = Operator(shop, shop.set())
    again.plan()
    assert again.transaction("inspected")["next"] == "adopt"
    steps = again.transaction("intended", step="database", undo={"existed": True})["journal"]["steps"]
    assert [(step["step"], step["undo"], step["done"]) for step in steps] == [("database", {"existed": False}, None)]
    assert again.transaction("done", step="database")["journal"]["steps"][0]["done"]
    assert again.transaction("ended", outcome="open")["journal"]["closed"] is None
    other = Operator(shop, shop.set(image="shop:2"))
    other.plan()
    left = other.transaction("inspected")
    assert left["next"] == "undo"
    assert left["left_by"].startswith(f"{again.run['user']}@{again.run['host']} (deploy since ")
    refused = other.transaction("intended", step="database")
    assert refused["msg"] == (
        f"tenant {shop.name}: the run of {left['left_by']} was killed and is not cleared up; "
        "run deploy_vertical.yml or rollback_vertical.yml, which do that first"
    )


def test_check_mode_looks_and_writes_nothing(shop: Shop, kubectl: Kubectl) -> None:
    operator = Operator(shop, shop.set())
    operator.plan()
    asked = {"name": shop.name, "kubeconfig": shop.kubeconfig, "run": operator.run, "state": "intended", "step": "database"}
    result = modules.call(transaction, asked, check=True)
    assert (result["changed"], result["next"], result["journal"]) == (False, "none", {})
    assert kubectl("get", "lease,secret", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={shop.name}", "-o", "name") == ""


def test_what_a_killed_run_made_last_is_in_the_record_of_the_next(shop: Shop) -> None:
    """The object is as asked, so that the next run has nothing to apply in that step; the record must know it all the same."""
    objects = shop.set()
    with Killer(1, lambda method, path: method == "PATCH" and "/servicemonitors/" in path)(), pytest.raises(Killed):
        shop.deploy(objects)
    assert state(shop)["unknown"] == [f"ServiceMonitor.monitoring.coreos.com {shop.namespace}/targets"]
    shop.deploy(objects)
    assert (state(shop)["unknown"], state(shop)["finished"]) == ([], True)
    versions = shop.versions()
    shop.deploy(objects)
    assert shop.versions() == versions
