"""A run killed at any of its writes: the next one converges to what a run that was never killed leaves."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.kills import TIMEOUT, points

from .conftest import Shop

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(TIMEOUT), pytest.mark.slow]


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
    for point in points():
        objects = shop.set(image=f"shop:{point.number}", extra=(f"only-{point.number}",))
        killed = point.kills(partial(shop.deploy, objects))
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
            f"ConfigMap/only-{point.number}",
        }
        assert (found["finished"], found["pending"], found["unknown"]) == (True, None, [])
        assert shop.release("planned", objects)["changed"] is False


def test_killed_first_deploy_is_finished_by_the_next(shops: Callable[[], Shop]) -> None:
    for point in points(8):
        shop = shops()
        objects = shop.set()
        if not point.kills(partial(shop.deploy, objects)):
            continue
        shop.deploy(objects)
        found = state(shop)
        assert (found["backend"], found["finished"], found["pending"], found["unknown"]) == ("booking-r1", True, None, [])


def test_killed_first_deploy_is_removed(shops: Callable[[], Shop]) -> None:
    for point in points(8):
        shop = shops()
        objects = shop.set()
        if not point.kills(partial(shop.deploy, objects)):
            continue
        plan = shop.release("planned", objects)
        result = shop.release("reverted", **({"previous": plan["previous"]} if plan["previous"] else {}))
        assert not result.get("failed"), result
        if plan["previous"]:
            # Killed when it was promoted: that one serves, and is what there is to return to.
            found = state(shop)
            assert (plan["previous"], found["backend"], found["finished"], found["pending"]) == (1, "booking-r1", True, None)
        else:
            assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""


def test_killed_rollback_is_finished_by_the_next(shops: Callable[[], Shop]) -> None:
    for point in points():
        shop = shops()
        shop.deploy(shop.set(extra=("one",)))
        shop.deploy(shop.set(image="shop:2", extra=("two",)))
        if not point.kills(partial(shop.release, "rolled_back", to_revision=1)):
            continue
        assert shop.backend() in ("booking-r1", "booking-r2")
        result = shop.release("rolled_back", to_revision=1)
        assert not result.get("failed"), result
        assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1"}
        assert (result["current"], result["kept"]) == (1, [1, 2])
        assert shop.release("planned", shop.set(extra=("one",)))["changed"] is False
