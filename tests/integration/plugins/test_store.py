"""What is stored of a tenant: big sets, two runs at once, damage."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _store
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._store import Store

from .conftest import Shop

pytestmark = pytest.mark.simulated


def config(name: str, value: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value}}


def test_a_big_set_is_kept_in_chunks(shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "CHUNK_BYTES", 1000)
    store = Store(Resources(client), shop.name)
    objects = [config(str(number), secrets.token_hex(200)) for number in range(10)]
    store.write(1, objects)
    assert store.kept()[1].chunks >= 3
    assert store.read(1) == objects
    shop.kubectl("delete", "secret", "-n", "barberpro-system", f"release-{shop.name}-r1-1")
    assert store.kept() == {}  # a part is none
    store.write(1, objects[:1])  # the leftovers of a killed run are replaced
    assert store.read(1) == objects[:1]


def test_two_runs_cannot_overwrite_each_other(shop: Shop, client: Client) -> None:
    store = Store(Resources(client), shop.name)
    one, two = store.load(), store.load()
    one.highest = two.highest = 1
    assert store.save(one) is True
    assert store.save(one) is False
    for late in (two, None):
        if late is None:
            late, fresh = store.load(), store.load()
            fresh.highest, late.highest = 2, 3
            store.save(fresh)
        with pytest.raises(PlatformError) as caught:
            store.save(late)
        assert str(caught.value) == (
            f"Secret barberpro-system/release-{shop.name}-record: another run has changed tenant {shop.name} in the meantime; wait for its end and run again"
        )


def test_damage_is_named(shop: Shop, client: Client) -> None:
    store = Store(Resources(client), shop.name)
    store.write(1, [config("a", "b")])
    name = f"release-{shop.name}-r1-0"
    secret = shop.kubectl.json("secret", name, "-n", "barberpro-system")
    shop.kubectl("delete", "secret", name, "-n", "barberpro-system")
    secret["data"]["set"] = base64.b64encode(b"no gzip").decode()
    for key in ("resourceVersion", "uid", "managedFields"):
        secret["metadata"].pop(key, None)
    Resources(client).create(secret)
    with pytest.raises(PlatformError, match=rf"revision r1 of tenant {shop.name} is damaged .*; choose another one"):
        store.read(1)
    record = store.load()
    record.highest = 1
    store.save(record)
    patch = '{"data": {"record": "e30="}}'
    shop.kubectl("patch", "secret", f"release-{shop.name}-record", "-n", "barberpro-system", "--type=merge", "-p", patch)
    with pytest.raises(PlatformError, match=r"cannot be read .*; restore it from a backup"):
        store.load()


def test_without_the_platform_there_is_a_sentence(shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "SYSTEM_NAMESPACE", "barberpro-none")
    store = Store(Resources(client), shop.name)
    record = store.load()
    record.highest = 1
    with pytest.raises(PlatformError, match=r"^namespace barberpro-none does not exist: the platform is not installed; run deploy_platform.yml$"):
        store.save(record)
    with pytest.raises(PlatformError, match=r"run deploy_platform\.yml"):
        store.write(1, [config("a", "b")])


def test_a_failed_job_is_made_anew(shop: Shop) -> None:
    objects = shop.set()
    job = next(obj for obj in objects if obj["kind"] == "Job")
    job["spec"]["activeDeadlineSeconds"] = 1
    job["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    shop.tenant(objects)
    first = shop.release("staged", objects)
    assert first["msg"].startswith(f"Job {shop.namespace}/migrate-r1 is not ready: the job failed: Job was active longer than specified deadline")
    uid = shop.kubectl.json("job", "migrate-r1", "-n", shop.namespace)["metadata"]["uid"]
    assert {"object": f"Job {shop.namespace}/migrate-r1", "action": "changed", "phase": "workloads"} in shop.release("planned", objects)["changes"]
    again = shop.release("staged", objects)
    assert shop.kubectl.json("job", "migrate-r1", "-n", shop.namespace)["metadata"]["uid"] != uid
    # The pods of the revision start beside the migration, and it is not ready without it, however ready they are.
    assert "Deployment/booking-r1" in shop.kubectl.names("deploy", shop.namespace)
    assert again["msg"] == first["msg"]


def test_preflight_must_exist(shop: Shop) -> None:
    result = shop.release("planned", shop.set(), preflight_namespace="barberpro-none")
    assert "namespace barberpro-none does not exist: the platform is not installed; run deploy_platform.yml" in result["msg"]


def test_what_the_server_refuses_is_told_before_anything_is_written(shop: Shop) -> None:
    objects = shop.set()
    next(obj for obj in objects if obj["kind"] == "Deployment")["spec"]["replicaz"] = 1
    result = shop.release("planned", objects)
    assert result["msg"].startswith(f"Deployment {shop.namespace}/booking-r1: apply refused by the API server: ")
    assert "replicaz" in result["msg"]
    assert shop.versions() == {}
