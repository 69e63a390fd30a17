"""One LIST for many tenants, and limits on requests: against a server that records what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._batch import Batch, View
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client, Pace
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref

from tests.support.fake_api import FakeApi, kubeconfig

LABEL = "barberpro.platform/tenant"
SYSTEM = "barberpro-system"


def config_map(tenant: str, name: str, **metadata: Any) -> dict[str, Any]:
    labels = {LABEL: tenant, **metadata.pop("labels", {})}
    return {"metadata": {"namespace": f"tenant-{tenant}", "name": name, "labels": labels, "resourceVersion": "1", **metadata}}


LIVE = [config_map("one", "a"), config_map("one", "going", deletionTimestamp="now"), config_map("two", "a")]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    def answer(path: str) -> tuple[int, dict[str, str], Any]:
        if "labelSelector" in path:
            return (200, {}, {"metadata": {}, "items": LIVE})
        return (200, {}, {**config_map("one", path.rpartition("/")[2].partition("?")[0]), "fresh": True})

    with FakeApi() as server:
        server.answers = [answer]
        yield server


@pytest.fixture
def client(api: FakeApi, tmp_path: Path) -> Client:
    return Client.from_options({"kubeconfig": kubeconfig(tmp_path, api.url, token="t0ken"), "request_timeout": 5}, concurrency=2)


@pytest.fixture
def batch(client: Client) -> Batch:
    return Batch(client, ["one", "two", "three"], frozenset({"tenant-one", "tenant-two", SYSTEM}))


def of(tenant: str, name: str) -> Ref:
    return Ref("v1", "ConfigMap", f"tenant-{tenant}", name)


def test_two_tenants_are_read_by_one_list_that_leaves_the_platforms_own_out(api: FakeApi, client: Client, batch: Batch) -> None:
    one, two = View(client, "one", batch), View(client, "two", batch)
    assert [obj["metadata"]["name"] for obj in one.list("v1", "ConfigMap", "tenant-one", labels=f"{LABEL}=one")] == ["a", "going"]
    assert two.get(of("two", "a")) == {"apiVersion": "v1", "kind": "ConfigMap", **LIVE[2]}
    assert [unquote_plus(path) for _method, path in api.seen] == [
        f"/api/v1/configmaps?labelSelector={LABEL} in (one,two,three)&fieldSelector=metadata.namespace!={SYSTEM}&limit=1000"
    ]


def test_what_is_in_no_namespace_is_known_without_asking(api: FakeApi, client: Client, batch: Batch) -> None:
    three = View(client, "three", batch)
    assert three.list("v1", "ConfigMap", "tenant-three", labels=f"{LABEL}=three") == []
    assert three.get(of("three", "a")) is None
    assert three.get(Ref("v1", "Namespace", "", "tenant-three")) is None
    assert api.seen == []


def test_what_was_written_what_is_going_and_what_is_not_ours_is_asked_anew(api: FakeApi, client: Client, batch: Batch) -> None:
    one = View(client, "one", batch)
    assert "fresh" not in (one.get(of("one", "a")) or {})
    assert "fresh" in (one.get(of("one", "going")) or {})
    assert "fresh" in (one.get(of("one", "foreign")) or {})
    one.apply({"apiVersion": "v1", "kind": "ConfigMap", **config_map("one", "a")}, dry_run=True)
    assert "fresh" not in (one.get(of("one", "a")) or {})
    one.delete(of("one", "a"))
    assert "fresh" in (one.get(of("one", "a")) or {})
    before = len(api.seen)
    one.list("v1", "ConfigMap", "tenant-one", labels=f"{LABEL}=one")
    one.list("v1", "ConfigMap", "tenant-two", labels=f"{LABEL}=two")
    one.list("v1", "ConfigMap", "tenant-one", labels=f"{LABEL}=one", fields="metadata.name=a")
    assert len(api.seen) == before + 3


@pytest.mark.parametrize(
    ("ref", "asked"),
    [
        (Ref("v1", "Secret", SYSTEM, "release-one-record"), "type=barberpro.platform/record.v1"),
        (Ref("v1", "Secret", SYSTEM, "journal-one"), "type=barberpro.platform/journal.v1"),
        (Ref("v1", "ConfigMap", SYSTEM, "host-x"), "barberpro.platform/claim=host"),
        (Ref("coordination.k8s.io/v1", "Lease", SYSTEM, "tenant-one"), "/leases?"),
    ],
)
def test_what_the_platform_keeps_of_a_tenant_is_listed_by_what_it_is(api: FakeApi, client: Client, batch: Batch, ref: Ref, asked: str) -> None:
    assert View(client, "one", batch).get(ref) is None
    (path,) = [unquote_plus(path) for _method, path in api.seen if "labelSelector" in path]
    assert asked in path
    assert f"/namespaces/{SYSTEM}/" in path


def test_others_in_the_system_namespace_are_asked_for_one_by_one(api: FakeApi, client: Client, batch: Batch) -> None:
    one = View(client, "one", batch)
    assert "fresh" in (one.get(Ref("v1", "Secret", SYSTEM, "release-one-r1-0")) or {})
    one.list("v1", "Secret", SYSTEM, labels=f"{LABEL}=one,barberpro.platform/revision", terse=True)
    assert "barberpro.platform/revision" in unquote_plus(api.seen[-1][1])
    assert api.headers[-1]["accept"].startswith("application/json;as=PartialObjectMetadataList")


def test_requests_keep_their_pace(api: FakeApi, client: Client) -> None:
    client.pace = Pace(50)
    begun = time.monotonic()
    client.map(lambda number: client.request("GET", f"/{number}"), range(11))
    assert time.monotonic() - begun >= 0.2
    assert len(api.seen) == 11


def test_no_more_requests_are_under_way_than_allowed_whoever_sends_them(api: FakeApi, client: Client) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def answer(_path: str) -> tuple[int, dict[str, str], Any]:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        with lock:
            under_way[0] -= 1
        return (200, {}, {})

    api.answers = [answer]
    threads = [threading.Thread(target=client.request, args=("GET", "/")) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


def test_one_of_many_works_in_its_own_thread(client: Client) -> None:
    single = client.one_by_one()
    assert set(single.map(lambda _item: threading.get_ident(), range(4))) == {threading.get_ident()}
    assert (single.pool, client.concurrency) == (client.pool, 2)
