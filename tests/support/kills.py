"""Runs that are killed at their n-th write, for all n until a run is not killed any more."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# How many writes lie between two points; unset, each test says how many it has the time for. `make crash` sets it to 1.
_STRIDE = os.environ.get("BARBERPRO_CRASH_STRIDE")
# Of one test that tries all its points: each takes seconds.
TIMEOUT = 3600 if _STRIDE else 600


class Killed(BaseException):
    """No code catches it, and no request of the killed process reaches the server afterwards."""


class Killer:
    """Lets ``left`` writes through; the server carries out the last one, and nothing is sent after it. Only writes that ``counts`` accepts count."""

    def __init__(self, left: int, counts: Callable[[str, str], bool] = lambda _method, _path: True) -> None:
        self.left = left
        self.counts = counts

    def __call__(self) -> AbstractContextManager[Any]:
        real, killer = Client.send, self

        def send(client: Client, method: str, path: str, **options: Any) -> Any:
            # The gateway of these tests is another process; a killed process's watches end without a word.
            if not threading.current_thread().name.startswith("watch"):
                if killer.left <= 0:
                    raise Killed
                killer.left -= method in WRITES and "dryRun=All" not in path and killer.counts(method, path)
            return real(client, method, path, **options)

        return mock.patch.object(Client, "send", send)


class Point:
    """The n-th write, and whether a run was killed at it: None before one was tried."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.killed: bool | None = None

    def kills(self, run: Callable[[], Any]) -> bool:
        """Begin a run and return whether it was killed here; one that makes fewer writes comes to its end."""
        assert self.killed is None, f"two runs were tried at write {self.number}"
        self.killed = False
        with Killer(self.number)():
            try:
                run()
            except Killed:
                self.killed = True
        return self.killed


def points(stride: int = 5) -> Iterator[Point]:
    """Yield the points of a run from its first write on, each ``stride`` writes apart, the last one behind its end.

    The test calls ``kills`` at each, and goes on with ``continue`` where that is false: this ends by itself, and fails when nothing was killed.
    """
    killed = 0
    for number in itertools.count(1, int(_STRIDE or stride)):
        point = Point(number)
        yield point
        assert point.killed is not None, f"no run was tried at write {number}"
        if not point.killed:
            break
        killed += 1
    assert killed, "no run was killed: it writes nothing, or its writes are not counted"
