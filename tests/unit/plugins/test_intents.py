"""What is noted of an object before it is made, and whether a way back may delete what it then finds: without a cluster."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Engine, Entry
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run
from ansible_collections.barberpro.platform.plugins.module_utils._store import Kept, Record

OURS = [{"manager": "barberpro.platform", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {}}}]
LABELS = {"barberpro.platform/tenant": "shop"}
FAILED = {"conditions": [{"type": "Failed", "status": "True"}]}


def wanted(kind: str, name: str) -> dict[str, Any]:
    """An object of the tenant as a template makes it."""
    api = "batch/v1" if kind == "Job" else "v1"
    annotations = {"barberpro.platform/phase": "workloads"}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "tenant-shop", "labels": LABELS, "annotations": annotations}}


JOB, CONFIG = wanted("Job", "migrate-r2"), wanted("ConfigMap", "extra")


class Cluster:
    """The verbs on objects that are kept here. With ``mute``, an apply is carried out and its answer gets lost."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.mute = False
        self.client = SimpleNamespace(map=lambda function, items: [*map(function, items)])

    def put(self, obj: dict[str, Any], fields: list[dict[str, Any]] | None = None, status: dict[str, Any] | None = None) -> dict[str, Any]:
        self.made += 1
        metadata = {**obj["metadata"], "uid": f"uid-{self.made}", "managedFields": OURS if fields is None else fields}
        self.objects[Ref.of(obj).key] = {**obj, "metadata": metadata, "status": status or {}}
        return self.objects[Ref.of(obj).key]

    def get(self, ref: Ref) -> dict[str, Any] | None:
        return self.objects.get(ref.key)

    def list(self, api_version: str, kind: str, _namespace: str, **_options: Any) -> list[dict[str, Any]]:
        return [obj for obj in self.objects.values() if (obj["apiVersion"], obj["kind"]) == (api_version, kind)]

    def apply(self, obj: dict[str, Any], *, dry_run: bool = False, **_options: Any) -> Any:
        live = self.objects.get(Ref.of(obj).key)
        answer = live or (obj if dry_run else self.put(obj))
        if self.mute and not dry_run:
            raise PlatformError("the answer got lost")
        return SimpleNamespace(status=200 if live else 201, json=lambda: answer)

    def delete(self, ref: Ref, *, uid: str | None = None) -> bool:
        assert uid == self.objects[ref.key]["metadata"]["uid"]
        return self.objects.pop(ref.key, None) is not None


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def engine(cluster: Cluster, entries: dict[str, Entry]) -> Engine:
    return Engine(cluster, "shop", entries)  # type: ignore[arg-type]


def recorded(cluster: Cluster, *objects: dict[str, Any]) -> dict[str, Entry]:
    """Make objects and return the record of them."""
    made = engine(cluster, {})
    made.execute(made.plan(objects))
    return made.entries


def killed_after(cluster: Cluster, entries: dict[str, Entry], *objects: dict[str, Any]) -> dict[str, Entry]:
    """Apply objects and return the record as it was saved before, which is all that a killed run leaves of it."""
    run = engine(cluster, entries)
    plan = run.plan(objects)
    run.announce(plan)
    saved = copy.deepcopy(run.entries)
    run.execute(plan)
    return saved


def gone_by_the_way_back(cluster: Cluster, entries: dict[str, Entry]) -> list[str]:
    """Return the names of what a run deletes that wants none of the recorded objects."""
    back = engine(cluster, entries)
    plan = back.plan([], remove=list(entries))
    back.execute(plan)
    return sorted(change.ref.name for change in plan.changes)


def test_what_was_made_anew_by_a_killed_run_is_ours_to_delete(cluster: Cluster) -> None:
    entries = recorded(cluster, JOB, CONFIG)
    cluster.objects[Ref.of(JOB).key]["status"] = FAILED
    del cluster.objects[Ref.of(CONFIG).key]
    saved = killed_after(cluster, entries, JOB, CONFIG)
    assert {entry.uid for entry in saved.values()} == {None}
    assert {obj["metadata"]["uid"] for obj in cluster.objects.values()} == {"uid-3", "uid-4"}
    assert gone_by_the_way_back(cluster, saved) == ["extra", "migrate-r2"]
    assert cluster.objects == {}


def test_a_run_that_was_killed_before_leaves_the_failed_one_to_be_deleted(cluster: Cluster) -> None:
    run = engine(cluster, recorded(cluster, JOB))
    cluster.objects[Ref.of(JOB).key]["status"] = FAILED
    assert run.announce(run.plan([JOB]))
    assert gone_by_the_way_back(cluster, run.entries) == ["migrate-r2"]


def test_what_others_have_made_under_an_announced_name_stays(cluster: Cluster) -> None:
    run = engine(cluster, recorded(cluster, CONFIG))
    del cluster.objects[Ref.of(CONFIG).key]
    assert run.announce(run.plan([CONFIG]))
    cluster.put(CONFIG, fields=[{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}])
    assert gone_by_the_way_back(cluster, run.entries) == []
    assert list(cluster.objects) == [Ref.of(CONFIG).key]


def test_an_apply_without_an_answer_leaves_the_intent(cluster: Cluster) -> None:
    run = engine(cluster, recorded(cluster, JOB))
    cluster.objects[Ref.of(JOB).key]["status"] = FAILED
    plan = run.plan([JOB])
    run.announce(plan)
    cluster.mute = True
    with pytest.raises(PlatformError, match=r"^the answer got lost$"):
        run.execute(plan)
    assert gone_by_the_way_back(cluster, run.entries) == ["migrate-r2"]


def test_what_is_as_asked_or_new_changes_no_recorded_entry(cluster: Cluster) -> None:
    run = engine(cluster, recorded(cluster, JOB))
    before = copy.deepcopy(run.entries)
    assert run.announce(run.plan([JOB])) is False
    assert run.entries == before
    plan = run.plan([JOB, CONFIG])
    assert run.announce(plan) is False
    assert run.entries[Ref.of(CONFIG).key].uid is None
    # Announced once more, as each part of a plan is before it is carried out.
    assert run.announce(plan) is False
    assert {**run.entries, **before} == run.entries
    run.execute(plan)
    assert None not in {entry.uid for entry in run.entries.values()}


class Begun(Run):
    """A run on revision 3 of a record that knows revision 1, which notes whether it writes the record."""

    def __init__(self, cluster: Cluster, entries: dict[str, Entry], number: int) -> None:
        record = Record(current=1, finished=1, highest=2, written=2, objects=entries)
        self.saved: list[dict[str, Entry]] = []

        def save(kept: Record) -> bool:
            self.saved.append(copy.deepcopy(kept.objects))
            return True

        store = SimpleNamespace(save=save, write=lambda number, *_more: Kept(number, "", 1, 1, ""))
        self.__dict__.update(
            dry=False, record=record, kept={}, hash="hash", unrecorded=set(), wrote=False, options={"objects": []}, store=store, engine=engine(cluster, entries)
        )
        self.begin(number, self.engine.plan([CONFIG]))


def test_a_stored_set_is_the_intent_of_what_is_new_and_not_of_what_is_made_anew(cluster: Cluster) -> None:
    assert Begun(cluster, {}, 3).saved == []
    entries = recorded(cluster, CONFIG)
    assert Begun(cluster, entries, 3).saved == []
    cluster.objects.clear()
    assert [entry.uid for entry in Begun(cluster, entries, 3).saved[0].values()] == [None]
