"""What the tests of killed runs stand on: that every write is a point, and that nothing passes which kills nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client

from tests.support import kills


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The writes that reached the server; what else is sent is not noted."""
    found: list[str] = []
    monkeypatch.setattr(kills, "_STRIDE", None)
    monkeypatch.setattr(Client, "send", lambda _client, method, path, **_options: found.append(path) if method != "GET" else None)
    return found


def run(writes: int) -> None:
    client: Any = object()
    for number in range(1, writes + 1):
        Client.send(client, "GET", "/a")
        Client.send(client, "PATCH", "/a?dryRun=All")
        Client.send(client, "PUT", f"/{number}")
    Client.send(client, "GET", "/a")


def test_every_write_is_a_point_and_the_last_is_behind_the_end(sent: list[str]) -> None:
    seen = []
    for point in kills.points(1):
        sent.clear()
        seen.append((point.number, point.kills(lambda: run(3)), [path for path in sent if "dryRun" not in path]))
    assert seen == [(1, True, ["/1"]), (2, True, ["/1", "/2"]), (3, True, ["/1", "/2", "/3"]), (4, False, ["/1", "/2", "/3"])]


def test_a_stride_of_the_caller_goes_before_that_of_the_test(sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [point.number for point in kills.points(2) if point.kills(lambda: run(5)) is not None] == [1, 3, 5, 7]
    monkeypatch.setattr(kills, "_STRIDE", "1")
    assert [point.number for point in kills.points(2) if point.kills(lambda: run(2)) is not None] == [1, 2, 3]


def test_a_loop_that_kills_nothing_fails(sent: list[str]) -> None:
    with pytest.raises(AssertionError, match="no run was killed"):
        _tried = [point.kills(lambda: run(0)) for point in kills.points()]
    with pytest.raises(AssertionError, match="no run was tried at write 1"):
        list(kills.points())


def test_only_the_writes_that_count_are_counted(sent: list[str]) -> None:
    with kills.Killer(1, lambda _method, path: path == "/2")(), pytest.raises(kills.Killed):
        run(3)
    assert [path for path in sent if "dryRun" not in path] == ["/1", "/2"]
