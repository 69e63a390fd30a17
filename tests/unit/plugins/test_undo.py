"""What the ways back leave in the record of a tenant."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _undo
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Plan
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._info import images_of
from ansible_collections.barberpro.platform.plugins.module_utils._run import Run
from ansible_collections.barberpro.platform.plugins.module_utils._store import Kept, Record


class Stub(Run):
    """A run on kept revisions 4 and 5 that has no cluster behind it."""

    def __init__(self, record: Record, **options: Any) -> None:
        kept = {number: Kept(number, f"hash-{number}", 1, 0, "") for number in (4, 5)}
        self.__dict__.update(
            tenant="shop", options={"keep": 10, **options}, record=record, kept=kept, unrecorded=set(), dry=False, done=[], wrote=False, waited=0.0,
            number=record.current, hash="", warnings=[], new_tenant=False, removed_tenant=False, deadline=0.0, outcomes_late=False,
            store=SimpleNamespace(read=lambda _number: [], save=lambda _record: True, drop=lambda _number: None),
            engine=SimpleNamespace(plan=lambda _objects, remove=(): Plan(), force=False),
        )


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Make runs whose objects are all as they should be."""
    monkeypatch.setattr(_undo, "_switch", lambda *_arguments: None)
    monkeypatch.setattr(_undo, "_up_and_switch", lambda *_arguments: None)
    return Stub


def test_after_an_undone_return_the_next_failed_run_returns_to_what_serves(stub: Callable[..., Run]) -> None:
    record = Record(current=5, finished=5, highest=5, proven={4, 5})
    back = stub(record, to_revision=4)
    _undo.rolled_back(back)
    assert back.result()["previous"] == 4
    # A gate behind it failed.
    undo = stub(record, previous=5)
    _undo.reverted(undo)
    assert (record.current, record.finished, undo.result()["previous"], sorted(undo.kept)) == (5, 5, 5, [4, 5])


def test_images_of_kept_revisions_are_found_wherever_pods_are_made() -> None:
    pod = {"initContainers": [{"image": "a.test/first:1"}], "containers": [{"image": "b.test/main:1"}, {"image": "a.test/beside:1"}]}
    job = {"spec": {"template": {"spec": {"containers": [{"image": "c.test/migrate:1"}]}}}}
    objects = [
        {"kind": "Deployment", "spec": {"template": {"spec": pod}}}, {"kind": "CronJob", "spec": {"jobTemplate": job}},
        {"kind": "ConfigMap", "data": {"image": "d.test/none:1"}}, {"kind": "HTTPRoute", "spec": {"hostnames": ["x.test"]}},
    ]
    assert images_of(objects) == {"a.test/first:1", "b.test/main:1", "a.test/beside:1", "c.test/migrate:1"}
    assert images_of([]) == set()


def test_a_return_that_is_taken_back_at_its_very_end_has_not_finished(stub: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(current=5, finished=5, highest=5, proven={4, 5})
    back = stub(record, to_revision=4)

    def fails_once(kept: Record) -> bool:
        if kept.finished == 4:
            raise PlatformError("the API server went away")
        return True

    monkeypatch.setattr(back.store, "save", fails_once)
    with pytest.raises(PlatformError, match=r"^the API server went away$"):
        _undo.rolled_back(back)
    assert (record.current, record.finished, back.result()["previous"]) == (5, 5, 5)
