"""Creates and deletes at a quota's limit, against a cluster in memory."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from benchmarks import quota_race
from benchmarks.quota_race import OWN, Crowd, Names, Race


class Memory(Resources):
    """ConfigMaps of one namespace under a quota that counts at once, or (``lax``) lets so many more in after the first delete."""

    def __init__(self, hard: int, lax: int = 0, counts: bool = True) -> None:
        """Begin with what the cluster makes by itself."""
        self.names, self.hard, self.lax, self.counts = {"kube-root-ca.crt"}, hard, lax, counts
        self.used, self.most, self.deleted = 0, 0, False
        self.lock = threading.Lock()

    def create(self, obj: Any, **_options: Any) -> dict[str, Any]:
        """Admit while there is room."""
        with self.lock:
            if self.used >= self.hard + (self.lax if self.deleted else 0):
                raise ApiError(403, {"message": "exceeded quota: tier"}, verb="create", target="x")
            self.names.add(obj["metadata"]["name"])
            self.used += 1
            self.most = max(self.most, len(self.names) - OWN)
        return {}

    def delete(self, ref: Ref, **_options: Any) -> bool:
        """Remove, and count anew where the controller works."""
        with self.lock:
            self.names.remove(ref.name)
            self.used -= self.counts
            self.deleted = True
        return True

    def list(self, *_kind: str, **_options: Any) -> list[dict[str, Any]]:
        """What is there."""
        return [{"metadata": {"name": name}} for name in sorted(self.names)]


class Pool:
    """Calls one after the other."""

    def map(self, function: Any, items: Any) -> list[Any]:
        """As the client's."""
        return [function(item) for item in items]


def race(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Race:
    """A race in memory; the watch is told what it would have seen."""

    class Seen:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_exception: object) -> None:
            return

        def come_to(self, there: int) -> None:
            assert there == len(memory.names) - OWN

        @property
        def most(self) -> int:
            return memory.most

    monkeypatch.setattr(quota_race, "Crowd", lambda *_: Seen())
    monkeypatch.setattr(Race, "wait", lambda _: None)
    made = Race.__new__(Race)
    made.kubeconfig, made.namespace, made.hard, made.resources = "", "race", memory.hard, memory
    made.client = Pool()  # type: ignore[assignment]
    return made


def test_an_overshoot_while_deletes_go_on_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = race(Memory(100, lax=3), monkeypatch).creates_and_deletes(1000)
    assert (found["operations"], found["hard"], found["most"], found["overshoot"]) == (1000, 100, 103, 3)
    assert found["deletes_at_limit"] > 200
    exact = race(Memory(100), monkeypatch).creates_and_deletes(1000)
    assert (exact["most"], exact["overshoot"]) == (100, 0)
    assert exact["deletes_at_limit"] + exact["admitted"] + exact["refused"] == 1000


def test_a_race_in_which_hardly_anything_is_deleted_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"fewer than one in 50 of 1000 operations was a delete at the limit"):
        race(Memory(100, counts=False), monkeypatch).creates_and_deletes(1000)


def test_names_are_given_away_in_bursts_that_begin_when_the_quota_is_full() -> None:
    names = Names(["a", "b", "c"], full=3, burst=2)
    assert names.take() is None
    names.refused()
    names.refused()
    assert [names.take(), names.take(), names.take()] == ["a", "b", None]
    names.add("d")
    names.refused()
    assert names.take() is None
    names.add("e")
    names.refused()
    assert names.take() == "c"


def test_the_watch_keeps_the_greatest_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "from_options", lambda *_arguments, **_more: None)
    crowd = Crowd("", "race")
    for number, kind in enumerate(("ADDED", "ADDED", "ADDED", "DELETED", "DELETED", "ADDED")):
        uid = f"u{number - 2}" if kind == "DELETED" else f"u{number}"
        crowd._take({"type": kind, "object": {"metadata": {"uid": uid, "resourceVersion": str(number)}}}, "0")
    assert (crowd.racers, crowd.most) == (2 - OWN, 3 - OWN)
    with pytest.raises(RuntimeError, match="listed anew"):
        crowd.come_to(2 - OWN)
