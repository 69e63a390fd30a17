"""A fleet undoes what it has begun itself, and nothing that another run has done."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.run_identity import run_identity
from ansible_collections.barberpro.platform.plugins.module_utils import _fleet, _lease
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._store import Record, Store
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction

from tests.support.kept_objects import Kept, kept_objects
from tests.support.loopback import Request

SYSTEM = "/api/v1/namespaces/barberpro-system"
JOURNAL = f"{SYSTEM}/secrets/journal-a"
RECORD = f"{SYSTEM}/secrets/release-a-record"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases/tenant-a"
NAMESPACE = "/api/v1/namespaces/tenant-a"
TENANT = {"barberpro.platform/tenant": "a"}
ACTIVE = {"metadata": {"name": "tenant-a", "labels": TENANT}, "status": {"phase": "Active"}}
METADATA = {"labels": TENANT, "annotations": {"barberpro.platform/phase": "infrastructure"}}
OBJECTS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "tenant-a", **METADATA}, "data": {"key": "value"}}
    for name in ("one", "two")
]
RUN = {**run_identity("a", "deploy"), "id": "fleet"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with kept_objects(tmp_path) as found:
        found.put(SYSTEM, {"metadata": {"name": "barberpro-system"}, "status": {"phase": "Active"}})
        found.put(NAMESPACE, ACTIVE)
        yield found


@pytest.fixture
def new(kept: Kept) -> Kept:
    """The same without the tenant: its namespace is made by its first deploy."""
    del kept.objects[NAMESPACE]

    def make(request: Request) -> None:
        if request.method == "PATCH" and "dryRun" not in request.path and NAMESPACE not in kept.objects:
            kept.put(NAMESPACE, ACTIVE)

    kept.before = make
    return kept


def converge(kept: Kept, value: str = "value", keep: int = 10, run: dict[str, Any] | None = RUN) -> dict[str, Any]:
    """Deploy tenant a by a fleet; return what is told of it."""
    client = Client.from_options({"kubeconfig": kept.kubeconfig, "request_timeout": 5, "outage_timeout": 0})
    objects = [{**obj, "data": {"key": value}} for obj in OBJECTS]
    options = {"state": "deployed", "tenants": [{"name": "a", "objects": objects}], "wait_timeout": 5, "keep": keep, "run": run}
    told: dict[str, Any] = _fleet.converge(client, options, False)["tenants"][0]
    return told


def deploy(kept: Kept, value: str = "value", keep: int = 10, run: dict[str, Any] | None = RUN) -> dict[str, Any]:
    """Deploy tenant a by a fleet that fails; return what is told of it."""
    with pytest.raises(PlatformError) as failed:
        converge(kept, value, keep, run)
    told: dict[str, Any] = failed.value.details["tenants"][0]
    return told


def record(kept: Kept) -> dict[str, Any]:
    """Return the tenant's record as it is stored."""
    found: dict[str, Any] = json.loads(base64.b64decode(kept.objects[RECORD]["data"]["record"]))
    return found


def journal(document: dict[str, Any]) -> dict[str, Any]:
    content = base64.b64encode(json.dumps(document).encode()).decode()
    metadata = {"name": "journal-a", "namespace": "barberpro-system", "labels": TENANT}
    return {"metadata": metadata, "type": "barberpro.platform/journal.v1", "data": {"journal": content}}


def test_what_another_run_has_deployed_since_the_batch_was_listed_stays(kept: Kept) -> None:
    theirs = journal({"run": {"id": "ana", "operation": "deploy"}, "previous": None, "steps": [], "closed": "now", "outcome": "succeeded"})

    def ana_deploys(request: Request) -> None:
        if request.method == "POST" and "/leases" in request.path:
            kept.put(JOURNAL, theirs)

    kept.before = ana_deploys
    told = deploy(kept)
    assert told["msg"] == ("Secret barberpro-system/journal-a: another run has changed tenant a in the meantime; wait for its end and run again")
    assert (told["changed"], told.get("undone"), told.get("undo_msg")) == (False, None, None)
    assert kept.objects[JOURNAL]["data"] == theirs["data"]
    assert not kept.objects[LEASE]["spec"]["holderIdentity"]
    assert [write for write in kept.writes() if write not in (f"PUT {LEASE}", "POST " + LEASE.rpartition("/")[0])] == [f"POST {SYSTEM}/secrets"]


def test_a_run_that_was_overtaken_leaves_the_tenant_to_who_has_it(new: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood still, another run has undone it, deployed and ended; what serves now is not its own to take back."""
    kept, make = new, new.before
    closed: dict[str, Any] = {"run": {"id": "ana", "operation": "deploy"}, "previous": None, "steps": [], "closed": "now", "outcome": "succeeded"}

    def ana_deploys(request: Request) -> None:
        make(request)
        if request.method == "PATCH" and "dryRun" not in request.path and kept.objects[LEASE]["spec"]["holderIdentity"] == "fleet":
            spec = {**kept.objects[LEASE]["spec"], "holderIdentity": None, "leaseTransitions": 2}
            kept.put(LEASE, {**kept.objects[LEASE], "spec": spec})
            kept.put(JOURNAL, journal(closed))
            monkeypatch.setattr(_lease, "_clock", lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 3600)

    kept.before = ana_deploys
    told = deploy(kept)
    assert "another run has changed it since this one looked at it, so this one stops before its next write" in told["msg"]
    assert (told["undone"], told["undo_msg"].startswith("undoing it failed: tenant a: another run has changed it")) == (False, True)
    assert json.loads(base64.b64decode(kept.objects[JOURNAL]["data"]["journal"])) == closed
    assert NAMESPACE in kept.objects
    assert "DELETE" not in {request.method for request in kept.log}


def fail_to_save(monkeypatch: pytest.MonkeyPatch, finished: int) -> None:
    """Have the record of a run that has ended well with this revision not be written."""
    save = Store.save

    def saved(store: Store, asked: Record) -> bool:
        if asked.finished == finished:
            raise PlatformError("no answer")
        return save(store, asked)

    monkeypatch.setattr(Store, "save", saved)


@pytest.fixture
def last_save_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a run that has ended well with r2 cannot be written."""
    fail_to_save(monkeypatch, 2)


@pytest.fixture
def first_save_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a run that has ended well with r1 cannot be written."""
    fail_to_save(monkeypatch, 1)


@pytest.fixture
def end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of a run that has ended well cannot be closed."""
    end = Transaction.end

    def ended(transaction: Transaction, outcome: str) -> bool:
        if outcome == "succeeded":
            raise PlatformError("no answer")
        return end(transaction, outcome)

    monkeypatch.setattr(Transaction, "end", ended)


@pytest.mark.parametrize(("failure", "keep"), [("last_save_fails", 10), ("last_save_fails", 1), ("end_fails", 10)])
def test_a_deploy_that_fails_at_its_very_end_returns_to_what_was_before_it(kept: Kept, request: pytest.FixtureRequest, failure: str, keep: int) -> None:
    assert converge(kept)["revision"] == "r1"
    request.getfixturevalue(failure)
    told = deploy(kept, "other", keep)
    assert (told["msg"], told["undone"], told["undo_msg"]) == ("no answer", True, "returned to r1")
    assert kept.objects[f"{NAMESPACE}/configmaps/one"]["data"] == {"key": "value"}
    stored = record(kept)
    assert (stored["current"], stored["pending"], stored["finished"], stored["proven"]) == (1, None, 1, [1])
    # What was undone is none that a later return could lead to.
    assert [path for path in kept.objects if "/release-a-r" in path and path != RECORD] == [f"{SYSTEM}/secrets/release-a-r1-0"]


@pytest.mark.usefixtures("end_fails")
@pytest.mark.parametrize("run", [RUN, None])
def test_a_tenant_of_which_the_record_is_lost_is_not_removed_by_a_deploy_that_fails(kept: Kept, run: dict[str, Any] | None, request: Any) -> None:
    if run is None:
        # It has no journal to close, so that it fails a step before.
        request.getfixturevalue("first_save_fails")
    told = deploy(kept, run=run)
    assert told["undone"] is False
    assert told["undo_msg"] == (
        "undoing it failed: tenant a: namespace tenant-a was there before this deploy, and Secret barberpro-system/release-a-record, which would say what "
        "served in it, was not: nothing is removed, and what this run has changed stays beside it until a deploy succeeds; run again"
    )
    assert NAMESPACE in kept.objects
    assert {request.method for request in kept.log if "tenant-a" in request.path.partition("/leases")[0]}.isdisjoint({"DELETE"})


@pytest.mark.usefixtures("end_fails")
def test_a_first_deploy_that_fails_at_its_very_end_is_removed(new: Kept) -> None:
    kept = new
    told = deploy(kept)
    assert (told["undone"], told["undo_msg"]) == (True, "what its first deploy had made was removed")
    assert NAMESPACE not in kept.objects or f"{NAMESPACE}/configmaps/one" not in kept.objects
    assert [path for path in kept.objects if "/release-a-r" in path and path != RECORD] == []
