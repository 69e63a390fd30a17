"""A run killed at any of its writes: the next one converges to what a run that was never killed leaves."""

from __future__ import annotations

import base64
import json
import os
import threading
from typing import Any
from unittest import mock

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client

from .conftest import Shop

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600), pytest.mark.slow]
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
STRIDE = int(os.environ.get("BARBERPRO_CRASH_STRIDE", "5"))


class Killed(BaseException):
    """No code catches it, and no request of the killed process reaches the server afterwards."""


class Killer:
    """Lets ``left`` writes through; the server carries out the last one, and nothing is sent after it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self) -> Any:
        real, killer = Client.send, self

        def send(client: Client, method: str, path: str, **options: Any) -> Any:
            # The gateway of these tests is another process; a killed process's watches end without a word.
            if not threading.current_thread().name.startswith("watch"):
                if killer.left <= 0:
                    raise Killed
                killer.left -= method in WRITES and "dryRun=All" not in path
            return real(client, method, path, **options)

        return mock.patch.object(Client, "send", send)


def state(shop: Shop) -> dict[str, Any]:
    """What another client sees of a tenant, without what differs between two deploys of the same."""
    record = shop.kubectl.json("secret", f"release-{shop.name}-record", "-n", "barberpro-system")
    document = json.loads(base64.b64decode(record["data"]["record"]))
    kinds = "deploy,svc,cm,job,httproute,quota,netpol,role,servicemonitor"
    return {
        "names": shop.kubectl.names(kinds, shop.namespace) - {"ConfigMap/kube-root-ca.crt"},
        "recorded": set(document["objects"]),
        "finished": document["finished"] == document["current"],
        "pending": document["pending"],
        "backend": shop.backend(),
        "unknown": [key for key, entry in document["objects"].items() if entry["uid"] is None],
    }


def test_killed_at_every_write_of_an_update(shop: Shop) -> None:
    """A point takes seconds, so that `make test` tries some, and `make crash` all."""
    shop.deploy(shop.set())
    points = 0
    for number in range(1, 60, STRIDE):
        objects = shop.set(image=f"shop:{number}", extra=(f"only-{number}",))
        killed = False
        with Killer(number)():
            try:
                shop.deploy(objects)
            except Killed:
                killed = True
        plan = shop.release("planned", objects)
        assert not plan.get("failed"), plan
        assert killed or not plan["changed"]
        shop.deploy(objects)
        found = state(shop)
        revision = plan["revision"]
        assert found["backend"] == f"booking-{revision}"
        assert {name for name in found["names"] if name.startswith(("Deployment", "Job", "ConfigMap"))} == {
            f"Deployment/booking-{revision}",
            f"Job/migrate-{revision}",
            f"ConfigMap/only-{number}",
        }
        assert (found["finished"], found["pending"], found["unknown"]) == (True, None, [])
        assert shop.release("planned", objects)["changed"] is False
        if not killed:
            break
        points += 1
    assert points * STRIDE >= 15


@pytest.mark.parametrize("number", range(1, 13, 2))
def test_killed_first_deploy_is_finished_or_removed(shop: Shop, number: int) -> None:
    objects = shop.set()
    with Killer(number)(), pytest.raises(Killed):
        shop.deploy(objects)
    plan = shop.release("planned", objects)
    if number % 4 == 1:
        shop.deploy(objects)
        assert state(shop)["backend"] == "booking-r1"
        return
    result = shop.release("reverted", **({"previous": plan["previous"]} if plan["previous"] else {}))
    assert not result.get("failed"), result
    assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""


@pytest.mark.parametrize("number", [1, 3, 5, 7, 9])
def test_killed_rollback_is_finished_by_the_next(shop: Shop, number: int) -> None:
    shop.deploy(shop.set(extra=("one",)))
    shop.deploy(shop.set(image="shop:2", extra=("two",)))
    with Killer(number)():
        try:
            shop.release("rolled_back", to_revision=1)
        except Killed:
            assert shop.backend() in ("booking-r1", "booking-r2")
    result = shop.release("rolled_back", to_revision=1)
    assert not result.get("failed"), result
    assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1"}
    assert (result["current"], result["kept"]) == (1, [1, 2])
    assert shop.release("planned", shop.set(extra=("one",)))["changed"] is False
