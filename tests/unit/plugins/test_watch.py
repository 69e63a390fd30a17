"""Watching against a server that forgets our place, breaks connections and is busy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._watch import Topic, Watch

from tests.support.fake_api import Answer, FakeApi, kubeconfig

TOPIC = Topic("v1", "ConfigMap", "ns", labels="a=b")


def obj(name: str, version: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


def page(version: int, *names: str) -> Answer:
    return (200, {}, {"items": [obj(name, version) for name in names], "metadata": {"resourceVersion": str(version)}})


def events(*items: tuple[str, dict[str, Any]]) -> Answer:
    return (200, {}, b"".join(json.dumps({"type": kind, "object": body}).encode() + b"\n" for kind, body in items))


def names_after(folder: Path, answers: list[Any], until: Callable[[set[str]], bool]) -> tuple[set[str], list[str]]:
    with FakeApi(answers) as api:
        client = Client.from_options({"kubeconfig": kubeconfig(folder, api.url)})
        with Watch(client, [TOPIC]) as watch:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                found = {item["metadata"]["name"] for item in watch.of("ConfigMap")}
                if until(found):
                    break
                watch.wait(0.2)
        return found, [path for _method, path in api.seen]


def idle(path: str) -> Answer:
    time.sleep(0.2)
    return events()


def test_changes_are_followed(tmp_path: Path) -> None:
    changes = events(("ADDED", obj("b", 2)), ("MODIFIED", obj("a", 3)), ("BOOKMARK", obj("", 4)), ("DELETED", obj("a", 5)))
    found, paths = names_after(tmp_path, [page(1, "a"), changes, idle], lambda names: names == {"b"})
    assert found == {"b"}
    assert "labelSelector=a%3Db" in paths[0]
    assert "resourceVersion=1" in paths[1]


def test_a_watch_goes_on_where_it_ended(tmp_path: Path) -> None:
    answers = [page(1), events(("ADDED", obj("a", 7))), None, events(("ADDED", obj("b", 8))), idle]
    found, paths = names_after(tmp_path, answers, lambda names: names == {"a", "b"})
    assert found == {"a", "b"}
    assert "resourceVersion=7" in paths[3]


@pytest.mark.parametrize("gone", [events(("ERROR", {"code": 410, "message": "too old"})), (410, {}, {"message": "too old"}), (429, {}, {})])
def test_a_forgotten_place_is_listed_anew(tmp_path: Path, gone: Answer) -> None:
    found, _paths = names_after(tmp_path, [page(1, "a"), gone, page(9, "c"), idle], lambda names: names == {"c"})
    assert found == {"c"}


def test_a_busy_server_is_given_the_time_that_it_asks_for(tmp_path: Path) -> None:
    begun = time.monotonic()
    found, _paths = names_after(tmp_path, [page(1), (429, {"Retry-After": "1"}, b"Too many requests"), page(9, "c"), idle], lambda names: names == {"c"})
    assert found == {"c"}
    assert time.monotonic() - begun >= 1


def test_a_refusal_ends_the_watch(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="no watch"):
        names_after(tmp_path, [page(1, "a"), (403, {}, {"message": "no watch"})], lambda names: False)


def test_a_refusal_by_a_server_that_has_just_started_does_not(tmp_path: Path) -> None:
    with FakeApi([page(1, "a"), (403, {}, {"message": "RBAC: clusterrole not found"}), page(9, "c"), idle], ready=False) as api:
        client = Client.from_options({"kubeconfig": kubeconfig(tmp_path, api.url)})
        with Watch(client, [TOPIC]) as watch:
            end = time.monotonic() + 60
            while [item["metadata"]["name"] for item in watch.of("ConfigMap")] != ["c"]:
                assert time.monotonic() < end
                watch.wait(0.2)


def test_nothing_is_watched_when_the_list_is_enough(tmp_path: Path) -> None:
    _found, paths = names_after(tmp_path, [page(1, "a"), idle], lambda names: names == {"a"})
    assert len(paths) == 1


def test_an_answer_in_another_shape_is_told(tmp_path: Path) -> None:
    """What is followed must not look as if nothing changed any more."""
    with pytest.raises(PlatformError, match=r"^ConfigMap in namespace ns: what the API server sends cannot be followed \(KeyError: 'metadata'\)"):
        names_after(tmp_path, [page(1, "a"), events(("ADDED", {"kind": "ConfigMap"}))], lambda names: not names)
