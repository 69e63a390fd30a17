"""What a run does with the journal that it finds, and whether another run is alive: the rules, without a cluster."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from typing import Any
from unittest import mock

import pytest
from ansible_collections.barberpro.platform.plugins.filter.run_identity import FilterModule, run_identity
from ansible_collections.barberpro.platform.plugins.module_utils import _journal, _lease, _transaction

RUN = {"id": "b", "operation": "deploy", "content": "c1", "previous": 3}

LEAVING = {"id": "a", "operation": "offboard", "content": "offboard"}


def document(**changes: Any) -> dict[str, Any]:
    return {**_journal.opened({**RUN, "id": "a"}), **changes}


def steps(*names: str) -> list[dict[str, Any]]:
    return [{"step": name, "intended": "t", "done": None, "undo": {}} for name in names]


@pytest.mark.parametrize(
    ("found", "run", "following"),
    [
        (None, RUN, "none"),
        (document(closed="t"), RUN, "none"),
        (document(run={**RUN}), RUN, "none"),
        (document(), RUN, "adopt"),
        (document(steps=steps("infrastructure", "staged")), RUN, "adopt"),
        (document(), {**RUN, "content": "c2"}, "undo"),
        (document(), {**RUN, "operation": "roll back"}, "undo"),
        (document(run={"id": "a", "operation": "deploy", "content": ""}), {**RUN, "content": ""}, "undo"),
        (document(steps=steps("promoted", "finished")), RUN, "finish"),
        (document(steps=steps("promoted", "finished")), {**RUN, "content": "c2"}, "finish"),
        (document(run=LEAVING, steps=steps("removed")), RUN, "refuse"),
        (document(run=LEAVING), RUN, "undo"),
        (document(run=LEAVING, steps=steps("rehearsal")), RUN, "undo"),
        (document(run=LEAVING, steps=steps("finished")), RUN, "finish"),
        (document(run=LEAVING), {**LEAVING, "id": "c"}, "adopt"),
        (document(run=LEAVING, steps=steps("removed")), {**LEAVING, "id": "c"}, "adopt"),
    ],
)
def test_what_next(found: dict[str, Any] | None, run: dict[str, Any], following: str) -> None:
    assert _journal.what_next(found, run) == following


def test_a_journal_from_its_beginning_to_its_end() -> None:
    written = _journal.intended(document(), "database", {"existed": False}, "t1")
    written = _journal.done(written, "database", "t2")
    written = _journal.intended(written, "settings", {"before": {"name": "old"}}, "t3")
    written = _journal.intended(written, "settings", {"before": {"name": "new"}}, "t4")
    assert written["steps"] == [
        {"step": "database", "intended": "t1", "done": "t2", "undo": {"existed": False}},
        {"step": "settings", "intended": "t4", "done": None, "undo": {"before": {"name": "old"}}},
    ]
    assert written["previous"] == 3
    ended = _journal.closed(written, "undone", "t5")
    assert (ended["closed"], ended["outcome"]) == ("t5", "undone")


def test_a_run_knows_its_own_process() -> None:
    run = run_identity("barbershop-palermo", "deploy")
    assert (run["tenant"], run["operation"], run["host"]) == ("barbershop-palermo", "deploy", socket.gethostname())
    assert run["pid"] == os.getpid()
    assert _lease.lives(run)
    assert run["id"] != run_identity("barbershop-palermo", "deploy")["id"]
    assert FilterModule().filters() == {"run_identity": run_identity}


def _report(queue: Any) -> None:
    queue.put(run_identity("x", "deploy")["pid"])


def test_a_worker_names_the_process_that_lives_as_long_as_the_run() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_report, args=(queue,))
    worker.start()
    assert queue.get(timeout=30) == os.getpid()
    worker.join()


def _outlive(told: Any) -> None:
    """A playbook that starts a task and waits for it; the task tells whether it may write while the playbook lives, and after it was killed."""

    def task() -> None:
        lease = _lease.Lease(mock.Mock(), "x", {"id": "1"})
        lease.guard()
        told.put("written")
        while not _lease.is_orphan():
            time.sleep(0.01)
        for _attempt in range(2):
            try:
                lease.guard()
            except _lease.Held as error:
                told.put(str(error))

    worker = multiprocessing.get_context("fork").Process(target=task)
    worker.start()
    # Until it is killed: the task does not end before that.
    worker.join()


def test_a_task_that_outlives_its_playbook_writes_nothing_any_more() -> None:
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    playbook = context.Process(target=_outlive, args=(told,))
    playbook.start()
    assert told.get() == "written"
    playbook.kill()
    said = "tenant x: the playbook of this run was killed, so that it writes nothing any more; the next run clears up"
    assert [told.get() for _attempt in range(2)] == [said, said]
    playbook.join()


def test_the_user_behind_sudo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ana")
    assert _lease.shown(run_identity("x", "deploy")).startswith(f"ana@{socket.gethostname()} (deploy since 20")
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr("getpass.getuser", lambda: (nothing for nothing in ()).throw(KeyError("no entry for the uid")))
    assert run_identity("x", "deploy")["user"] == str(os.getuid())


def test_a_system_that_does_not_tell_its_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_a, **_k: (nothing for nothing in ()).throw(OSError("no /proc")))
    assert _lease.boot() == ""
    assert _lease.process_started(1) is None


def test_a_run_that_was_overtaken_in_a_step_notes_no_outcome_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its step was none of this collection's modules, so that nothing renewed the lease meanwhile."""
    transaction = _transaction.Transaction(mock.Mock(), "x", {"id": "b"})
    monkeypatch.setattr(transaction.journal, "load", lambda: document(steps=steps("database")))
    save = mock.Mock()
    monkeypatch.setattr(transaction.journal, "save", save)
    with pytest.raises(_lease.Held, match=r"^tenant x: another run has changed it since this one looked at it, so this one stops before its next write"):
        transaction.done("database")
    save.assert_not_called()
    # Whoever has removed the tenant has removed the journal with it.
    monkeypatch.setattr(transaction.journal, "load", lambda: None)
    transaction.done("database")


def test_a_task_of_a_killed_playbook_neither_renews_its_lease_nor_notes_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    resources = mock.Mock()
    transaction = _transaction.Transaction(resources, "x", {"id": "1"})
    monkeypatch.setattr(_lease, "is_orphan", lambda: True)
    monkeypatch.setattr(_lease, "RENEW_SECONDS", 0.001)
    with transaction.lease.kept():
        deadline = time.monotonic() + 30
        while transaction.lease._lost is None and time.monotonic() < deadline:
            time.sleep(0.001)
    with pytest.raises(_lease.Held, match=r"the playbook of this run was killed"):
        transaction.done("database")
    assert resources.method_calls == []
