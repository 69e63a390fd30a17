"""Who has the lease: how long it lasts, whose process is there, and what the one who comes second is told. Time is the test's own."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.run_identity import run_identity
from ansible_collections.barberpro.platform.plugins.module_utils import _lease, _transaction
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref

from tests.support.waiting import until

NOBODY = 2**22 + 1  # above the kernel's highest pid


class Server:
    """An API server that keeps one Lease and has the time that the test gives it."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.stored: dict[str, Any] | None = None
        self.client = self

    def now(self) -> float:
        return self.time

    def get(self, _ref: Ref) -> dict[str, Any] | None:
        return copy.deepcopy(self.stored)

    def create(self, obj: dict[str, Any]) -> None:
        self.stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "1"}}

    replace = create


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, whose time is this machine's as well."""
    found = Server()
    monkeypatch.setattr(_lease, "_clock", found.now)
    return found


@pytest.fixture
def living() -> Iterator[int]:
    """Another process of this machine, by its number."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid


def lease(server: Server, operation: str = "deploy", **changes: Any) -> _lease.Lease:
    return _lease.Lease(server, "palermo", {**run_identity("palermo", operation), "user": "ana", "began": "today", **changes})  # type: ignore[arg-type]


def of(pid: int) -> dict[str, Any]:
    return {"pid": pid, "pid_started": _lease.process_started(pid)}


def test_a_lease_lasts_two_minutes_or_as_long_as_its_run_asks(server: Server) -> None:
    for asked, seconds in (({}, 120), ({"lease_seconds": 30}, 120), ({"lease_seconds": "2400"}, 2400)):
        server.stored = None
        lease(server, host="another-machine", **asked).acquire()
        assert server.stored is not None
        assert server.stored["spec"]["leaseDurationSeconds"] == seconds
        second = lease(server, "roll back")
        server.time += seconds - 1
        with pytest.raises(_lease.Held, match=r"if its machine is gone, its lease .* ends by itself in at most 1 s"):
            second.acquire()
        server.time += 1
        second.acquire()
        assert server.stored["spec"]["leaseTransitions"] == 2


def test_a_process_that_lives_keeps_its_lease_though_it_has_expired(server: Server, living: int) -> None:
    first = lease(server, **of(living))
    first.acquire()
    server.time += 3600
    second = lease(server, "roll back")
    assert second.fence() == _lease.HELD
    with pytest.raises(_lease.Held) as refused:
        second.acquire()
    assert str(refused.value) == (
        f"tenant palermo is being changed by {_lease.shown(first.run)}; nothing was changed by this run. Wait for its end; its lease (Lease "
        f"barberpro-system/tenant-palermo) has expired, but its process {living} lives on this machine: if it hangs, end that process, then run again"
    )
    first.renew()


def test_a_run_renews_what_it_has_for_as_long_as_it_asks_and_takes_nothing(server: Server) -> None:
    run = lease(server).run
    slow = _transaction.Transaction(server, "palermo", {**run, "lease_seconds": 900})  # type: ignore[arg-type]
    assert (slow.renewed(), server.stored) == (False, None)
    lease(server, id=run["id"]).acquire()
    assert slow.renewed()
    assert server.stored is not None
    assert server.stored["spec"]["leaseDurationSeconds"] == 900


def test_of_two_runs_of_one_process_the_first_does_not_keep_its_lease_for_ever(server: Server) -> None:
    lease(server).acquire()
    second = lease(server, "roll back")
    with pytest.raises(_lease.Held):
        second.acquire()
    server.time += 120
    second.acquire()


def test_who_stood_still_asks_when_its_own_lease_may_have_ended(server: Server) -> None:
    for seconds in (120, 2400):
        server.stored = None
        first = lease(server, lease_seconds=seconds)
        first.acquire()
        assert server.stored is not None
        server.stored["spec"]["holderIdentity"] = "another"
        server.time += seconds - _lease.RENEW_SECONDS
        first.guard()
        server.time += 1
        with pytest.raises(_lease.Held, match="another run has changed it"):
            first.guard()


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({"pid": NOBODY}, False),
        ({"pid_started": 1}, False),  # the number was given to another process since
        ({"pid": NOBODY, "boot": "another"}, None),
        ({"pid": NOBODY, "boot": ""}, None),
        ({"pid": NOBODY, "host": "another-machine"}, None),
        ({"pid": NOBODY, "pid_namespace": "pid:[1]"}, None),
        ({}, True),
    ],
)
def test_only_of_a_process_of_this_machine_is_known_whether_it_lives(changes: dict[str, Any], alive: bool | None) -> None:
    assert _lease.lives({**run_identity("x", "deploy"), **changes}) is alive


def test_a_process_that_nobody_has_buried_is_dead(server: Server) -> None:
    """As in a container whose first process does not ask after its children."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = lease(server, **of(process.pid))
    first.acquire()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert until(lambda: _lease.lives(first.run), "the process to be dead", 30, good=lambda alive: not alive) is False
    second = lease(server, "roll back")
    second.acquire()
    assert second.holder()[1]["id"] == second.run["id"]
    process.communicate()
