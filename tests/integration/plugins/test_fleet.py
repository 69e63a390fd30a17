"""The module fleet on a real API server: many tenants in one call, seen by kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _claims
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.modules import fleet

from tests.support import modules
from tests.support.kills import TIMEOUT, points

from .conftest import Gateway, Shop
from .test_killed import state

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600)]


def call(shops: list[Shop], sets: list[list[dict[str, Any]]] | None = None, *, check: bool = False, **options: Any) -> dict[str, Any]:
    tenants = [{"name": shop.name, "objects": sets[place] if sets else []} for place, shop in enumerate(shops)]
    asked = {"tenants": tenants, "kubeconfig": shops[0].kubeconfig, "wait_timeout": 30, **options}
    return modules.call(fleet, asked, check=check)


def results(told: dict[str, Any]) -> list[str]:
    return [item["result"] for item in told["tenants"]]


@pytest.fixture
def three(shops: Callable[[], Shop]) -> list[Shop]:
    return [shops() for _number in range(3)]


def test_a_fleet_is_deployed_and_a_second_call_writes_nothing(three: list[Shop]) -> None:
    sets = [shop.set(extra=("config",)) for shop in three]
    told = call(three, sets)
    assert results(told) == ["changed"] * 3, told
    assert told["objects"]["created"] == sum(len(objects) for objects in sets)
    for shop in three:
        assert shop.backend() == "booking-r1"
        assert {"ConfigMap/config", "Deployment/booking-r1"} <= shop.kubectl.names("cm,deploy", shop.namespace)
        # The other modules take it for what they would have made themselves.
        assert shop.release("planned", shop.set(extra=("config",)))["changed"] is False
    before = [shop.versions() for shop in three]
    again = call(three, sets)
    assert (results(again), again["changed"], again["objects"]["created"]) == (["unchanged"] * 3, False, 0)
    assert [shop.versions() for shop in three] == before


def test_check_mode_tells_what_would_change_and_writes_nothing(three: list[Shop]) -> None:
    old, gap, new = three
    call([old], [old.set()])
    foreign = old.kubectl("create", "configmap", "foreign", "-n", old.namespace)
    before = old.versions()
    told = call([old, new], [old.set(image="shop:2"), new.set()], check=True)
    assert results(told) == ["changed", "changed"], told
    assert {"object": f"Deployment {old.namespace}/booking-r1", "action": "deleted", "phase": "workloads"} in told["tenants"][0]["changes"]
    assert {change["action"] for change in told["tenants"][1]["changes"]} == {"created"}
    assert (old.versions(), new.versions(), gap.versions()) == (before, {}, {})
    assert new.kubectl("get", "namespace", new.namespace, "--ignore-not-found") == ""
    assert "foreign" in foreign


def test_a_tenant_that_fails_is_undone_and_the_others_go_on(three: list[Shop]) -> None:
    first, second, third = three
    call([first, second], [first.set(), second.set()])
    first.kubectl("create", "configmap", "foreign", "-n", first.namespace)
    broken = {"simulated.barberpro.platform/fault": "image-pull"}

    def faulty(shop: Shop) -> list[dict[str, Any]]:
        objects = shop.set(image="shop:2")
        for obj in objects:
            if obj["kind"] == "Deployment":
                obj["spec"]["template"]["metadata"]["annotations"] = broken
        return objects

    told = call(three, [faulty(first), second.set(image="shop:2"), faulty(third)])
    assert told["failed"] is True
    assert results(told) == ["failed", "changed", "failed"], told
    assert told["msg"].startswith(f"2 of 3 tenants failed, the others are as asked: {first.name}: Deployment {first.namespace}/booking-r2 is not ready: ")
    assert "(returned to r1)" in told["msg"]
    assert "(what its first deploy had made was removed)" in told["msg"]
    assert (first.backend(), second.backend()) == ("booking-r1", "booking-r2")
    assert first.kubectl.names("deploy", first.namespace) == {"Deployment/booking-r1"}
    assert "ConfigMap/foreign" in first.kubectl.names("cm", first.namespace)
    assert third.kubectl("get", "namespace", third.namespace, "--ignore-not-found") == ""
    assert results(call([first], [first.set()])) == ["unchanged"]


def test_a_fleet_keeps_a_host_that_the_owner_s_route_still_names_and_gives_it_back_later(three: list[Shop]) -> None:
    shop = three[0]

    def named(number: int) -> list[dict[str, Any]]:
        objects = shop.set()
        for obj in objects:
            if obj["kind"] == "Namespace":
                obj["metadata"]["annotations"]["barberpro.platform/host"] = f"{shop.name}-{number}.barberpro.test"
        return objects

    def claims() -> list[str]:
        found = shop.kubectl.json("configmaps", "-n", "barberpro-system", "-l", f"barberpro.platform/claim=host,barberpro.platform/tenant={shop.name}")
        return sorted(item["data"]["host"].removesuffix(".barberpro.test") for item in found["items"])

    old, new = f"{shop.name}-1", f"{shop.name}-2"
    call([shop], [named(1)])
    spec = {"hostnames": [f"www.{old}.barberpro.test"]}
    mine = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "mine", "namespace": shop.namespace}, "spec": spec}
    shop.kubectl("create", "-f", "-", stdin=json.dumps(mine))
    for expected in ("changed", "unchanged"):
        told = call([shop], [named(2)])
        (warning,) = told["warnings"]
        assert warning.startswith(f"tenant {shop.name} keeps the host {old}.barberpro.test: HTTPRoute {shop.namespace}/mine (www.{old}.barberpro.test) is none")
        assert (results(told), claims()) == ([expected], [old, new])
        assert "warnings" not in told["tenants"][0]
    shop.kubectl("delete", "httproute", "mine", "-n", shop.namespace)
    assert results(call([shop], [named(2)], check=True)) == ["changed"]
    told = call([shop], [named(2)])
    assert (results(told), claims(), told.get("warnings")) == (["changed"], [new], None)
    call([shop], state="rolled_back", to_revision=1)
    assert claims() == [old]
    _claims.release(Resources(Client.from_options({"kubeconfig": shop.kubeconfig})), shop.name)


def test_what_is_not_ours_is_refused_before_a_write(three: list[Shop]) -> None:
    first, second, _third = three
    first.kubectl("create", "namespace", first.namespace)
    told = call([first, second], [first.set(), second.set()])
    assert results(told) == ["failed", "changed"], told
    assert f"Namespace {first.namespace} exists already and does not belong to tenant {first.name}" in told["tenants"][0]["msg"]
    assert "undone" not in told["tenants"][0]
    assert first.versions().keys() == {f"ConfigMap {first.namespace}/kube-root-ca.crt", f"ServiceAccount {first.namespace}/default"}


def test_fleets_are_rolled_back_route_and_all(three: list[Shop]) -> None:
    call(three, [shop.set(extra=("old",)) for shop in three])
    call(three, [shop.set(image="shop:2") for shop in three])
    assert [shop.backend() for shop in three] == ["booking-r2"] * 3
    told = call(three[:2], state="rolled_back")
    assert results(told) == ["changed", "changed"], told
    assert [shop.backend() for shop in three] == ["booking-r1", "booking-r1", "booking-r2"]
    for shop in three[:2]:
        assert shop.kubectl.names("deploy", shop.namespace) == {"Deployment/booking-r1"}
        assert "ConfigMap/old" in shop.kubectl.names("cm", shop.namespace)
    missing = call(three[2:], state="rolled_back", to_revision=7)
    assert f"revision r7 of tenant {three[2].name} is not kept (kept: r1, r2); choose one of these" in missing["msg"]


def test_each_changed_tenant_gets_its_lease_and_journal(three: list[Shop]) -> None:
    held, free, _third = three
    run = {"id": "one", "tenant": "", "operation": "deploy", "user": "ana", "host": "elsewhere", "began": "now", "pid": 1, "pid_started": 1, "boot": "x"}
    call([held], [held.set()])
    taken = modules.call(__import__(f"{fleet.__package__}.transaction", fromlist=["main"]), {
        "name": held.name, "kubeconfig": held.kubeconfig, "run": {**run, "id": "other", "tenant": held.name}, "state": "begun"})
    assert not taken.get("failed"), taken
    told = call([held, free], [held.set(image="shop:2"), free.set()], run=run)
    assert results(told) == ["failed", "changed"], told
    assert f"tenant {held.name} is being changed by ana@elsewhere (deploy since now); nothing was changed by this run" in told["msg"]
    assert held.backend() == "booking-r1"
    lease = free.kubectl.json("lease", f"tenant-{free.name}", "-n", "barberpro-system")
    assert "holderIdentity" not in lease["spec"] or not lease["spec"]["holderIdentity"]
    assert free.kubectl.names("secrets", "barberpro-system") >= {f"Secret/journal-{free.name}"}


def test_a_gateway_that_is_silent_fails_its_tenant_alone(three: list[Shop], gateway: Gateway) -> None:
    quiet, other, _third = three
    gateway.refuse.add(quiet.namespace)
    try:
        # The other one has to come up in that time.
        told = call([quiet, other], [quiet.set(), other.set()], wait_timeout=30)
    finally:
        gateway.refuse.discard(quiet.namespace)
    assert results(told) == ["failed", "changed"], told
    assert "has not answered yet" in told["tenants"][0]["msg"]


def test_a_route_that_the_gateway_has_not_taken_over_yet_leaves_what_served_before(shop: Shop, gateway: Gateway) -> None:
    """The watch of routes is at work already, for the one of the test: it shows the route of customers as it was accepted before."""

    def with_preview(image: str) -> list[dict[str, Any]]:
        objects = shop.set(image=image)
        main = next(obj for obj in objects if obj["kind"] == "HTTPRoute")
        metadata = {**main["metadata"], "name": "preview-@revision@", "annotations": {"barberpro.platform/phase": "workloads"}}
        return [*objects, {**main, "metadata": metadata}]

    assert results(call([shop], [with_preview("shop:1")])) == ["changed"]
    gateway.refuse.add(f"{shop.namespace}/main")
    try:
        told = call([shop], [with_preview("shop:2")], wait_timeout=15)
    finally:
        gateway.refuse.discard(f"{shop.namespace}/main")
    assert results(told) == ["failed"], told
    assert f"HTTPRoute {shop.namespace}/main is not ready after" in told["tenants"][0]["msg"]
    assert "Deployment/booking-r1" in shop.kubectl.names("deploy", shop.namespace)


def test_templates_are_rendered_with_shared_and_own_variables(three: list[Shop], tmp_path: Any) -> None:
    folder = tmp_path / "templates" / "infrastructure"
    folder.mkdir(parents=True)
    (folder / "10.yml.j2").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {{ tenant.namespace }}\n---\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config\ndata:\n  both: {{ common }}-{{ single }}\n"
    )
    one, two, _third = three
    tenants = [{"name": one.name, "variables": {"single": "1"}}, {"name": two.name, "variables": {}}]
    asked = {"tenants": tenants, "template_dirs": [str(tmp_path / "templates")], "shared_variables": {"common": "c"}, "kubeconfig": one.kubeconfig}
    told = modules.call(fleet, asked)
    assert results(told) == ["changed", "failed"], told
    assert one.kubectl.json("cm", "config", "-n", one.namespace)["data"] == {"both": "c-1"}
    assert "'single' is undefined" in told["tenants"][1]["msg"]
    assert two.name in told["tenants"][1]["msg"]


def test_names_are_judged_before_anything_is_begun(three: list[Shop]) -> None:
    first = three[0]
    twice = call([first, first], [first.set(), first.set()])
    assert twice["msg"] == f"tenants names {first.name} more than once; name each tenant once"
    wrong = modules.call(fleet, {"tenants": [{"name": "Bad_Name"}], "kubeconfig": first.kubeconfig})
    assert wrong["msg"].startswith("tenant name 'Bad_Name' (8 characters) is not an RFC 1123 label")
    assert first.versions() == {}


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
def test_killed_at_its_writes_a_fleet_is_called_again_with_other_content(shops: Callable[[], Shop]) -> None:
    """`make test` tries every fifth point, and `make crash` all of them."""
    pair = [shops(), shops()]
    call(pair, [shop.set() for shop in pair])
    for point in points():
        sets = [shop.set(image=f"shop:killed-{point.number}", extra=("left-behind",)) for shop in pair]
        if not point.kills(partial(call, pair, sets)):
            continue
        told = call(pair, [shop.set(image=f"shop:after-{point.number}") for shop in pair])
        assert results(told) == ["changed", "changed"], told
        for shop, item in zip(pair, told["tenants"], strict=True):
            found = state(shop)
            assert found["backend"] == f"booking-{item['revision']}"
            assert {name for name in found["names"] if name.startswith(("Deployment", "ConfigMap"))} == {f"Deployment/booking-{item['revision']}"}
            assert (found["finished"], found["pending"], found["unknown"]) == (True, None, [])
