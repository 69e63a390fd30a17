"""The plan equals what the run that follows does, as another client sees it; and to plan writes nothing."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.modules import deploy_plan
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from tests.support import modules

from .conftest import Kubectl, Shop

PLANS = int(os.environ.get("BARBERPRO_PLANS", "12"))
# Two plans, a run and what kubectl sees of it take three to eight seconds each time.
pytestmark = [pytest.mark.simulated, pytest.mark.timeout(600 + 30 * PLANS), pytest.mark.slow]
KINDS = "deployments,services,configmaps,secrets,serviceaccounts,resourcequotas,networkpolicies,roles,jobs,httproutes,servicemonitors"
# Written by the server on every write, or by controllers; what a user sets is the rest.
BOOKKEEPING = ("resourceVersion", "generation", "managedFields", "creationTimestamp")
CREDENTIALS = [{"name": "database", "data": {"host": "db.example"}, "generate": ["password"]}]

Difference = dict[str, str]


def seen(shop: Shop) -> dict[str, str]:
    """All that the tenant has, by kubectl: what identifies each object and what a user can set."""
    found = {}
    items = []
    items += shop.kubectl.json(KINDS, "-n", shop.namespace).get("items", [])
    items += shop.kubectl.json("namespace", "-l", f"barberpro.platform/tenant={shop.name}").get("items", [])
    items += shop.kubectl.json("configmaps", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={shop.name}").get("items", [])
    for item in items:
        metadata = item["metadata"]
        # What the cluster's own controllers make in every namespace.
        if metadata["name"] in ("kube-root-ca.crt",) or (item["kind"], metadata["name"]) == ("ServiceAccount", "default"):
            continue
        where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
        kept = {key: value for key, value in metadata.items() if key not in BOOKKEEPING}
        # A Deployment's controller notes its own revision there.
        kept["annotations"] = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != "deployment.kubernetes.io/revision"}
        body = {**item, "metadata": kept, "status": None}
        if item["kind"] == "Namespace":
            body.pop("spec", None)
        found[f"{item['kind']} {where}{metadata['name']}"] = json.dumps(body, sort_keys=True)
    return found


def history(shop: Shop) -> set[str]:
    """The revisions that are kept, by their Secrets."""
    selector = f"barberpro.platform/tenant={shop.name},barberpro.platform/revision"
    items = shop.kubectl.json("secrets", "-n", "barberpro-system", "-l", selector)["items"]
    return {item["metadata"]["labels"]["barberpro.platform/revision"] for item in items}


def difference(before: dict[str, str], after: dict[str, str]) -> Difference:
    """What happened to each object, from two looks at all of them."""
    found = dict.fromkeys(after.keys() - before.keys(), "created") | dict.fromkeys(before.keys() - after.keys(), "deleted")
    return found | {key: "changed" for key in before.keys() & after.keys() if before[key] != after[key]}


def plan(shop: Shop, objects: list[dict[str, Any]], folder: Path, keep: int = 10) -> dict[str, Any]:
    """The plan as the playbook makes it, and its text; everything that was read for it wrote nothing."""
    before = shop.kubectl.versions(shop.namespace, shop.name)
    released = shop.release("planned", objects, keep=keep)
    assert not released.get("failed"), released
    infrastructure = shop.tenant(objects, check=True, diff=True, credentials=CREDENTIALS)
    assert not infrastructure.get("failed"), infrastructure
    given_ = {"path": str(folder), "tenant": shop.name, "release": released, "infrastructure": infrastructure, "keep": keep, "kubeconfig": shop.kubeconfig}
    result = modules.call(deploy_plan, given_, check=True)
    assert not result.get("failed"), result
    assert result["changed"] is False
    assert json.loads(Path(result["plan_path"]).read_text()) == result["plan"]
    assert Path(result["text_path"]).read_text() == result["text"]
    assert shop.kubectl.versions(shop.namespace, shop.name) == before
    found: dict[str, Any] = result["plan"]
    return found


def run(shop: Shop, objects: list[dict[str, Any]], keep: int = 10) -> None:
    for call in (
        lambda: shop.tenant(objects, credentials=CREDENTIALS),
        *((lambda state=state: shop.release(state, objects, keep=keep)) for state in ("staged", "promoted", "monitored", "finished")),
    ):
        result = call()
        assert not result.get("failed"), result


def actions(found: dict[str, Any]) -> Difference:
    # The cluster makes this one itself in a new namespace, and it is given back to the cluster with it.
    return {item["object"]: item["action"] for item in found["objects"]}


worlds = some.fixed_dictionaries(
    {
        "image": some.sampled_from(["shop:1", "shop:2", "shop:3"]),
        "workloads": some.sampled_from([("booking",), ("booking", "queue"), ("booking", "queue", "chairs")]),
        "extra": some.lists(some.sampled_from(["one", "two", "three", "four"]), unique=True).map(tuple),
        "pods": some.sampled_from(["10", "20"]),
        "job": some.sampled_from([False, False, True]),
    }
)
meddling = some.sampled_from(["nothing", "nothing", "foreign", "edited", "removed", "annotated", "password", "rolled back"])


def meddle(shop: Shop, what: str) -> None:
    """What somebody else does between two runs."""
    kubectl, space = shop.kubectl, ("-n", shop.namespace)
    if what == "foreign":
        kubectl("create", "configmap", "not-ours", *space, check=False)
    elif what == "edited":
        # By an older version of ours: fields of another manager are refused, by the plan as by the run.
        manager = "--field-manager=barberpro.platform"
        kubectl("patch", "resourcequota", "tier", *space, manager, "--type=merge", "-p", '{"spec": {"hard": {"pods": "3"}}}')
    elif what == "removed":
        kubectl("delete", "role", "reader", *space)
    elif what == "annotated":
        kubectl("annotate", "networkpolicy", "default-deny", *space, "example.org/note=kept", "--overwrite")
    elif what == "password":
        kubectl("delete", "secret", "database", *space)
    elif what == "rolled back" and len(history(shop)) > 1:
        assert not shop.release("rolled_back").get("failed")


def test_generated_plans_equal_what_the_runs_do(shop: Shop, tmp_path: Path) -> None:
    """Each example begins where the one before ended, so that pairs of states are generated, not only states. `make plans` tries 500."""
    keep = 4
    empty = seen(shop)
    first = plan(shop, shop.set(), tmp_path, keep)
    run(shop, shop.set(), keep)
    assert actions(first) == difference(empty, seen(shop))
    tried = {"changed": 0, "unchanged": 0, "created": 0, "deleted": 0}

    @settings(max_examples=PLANS, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(worlds, meddling)
    def compare(world: dict[str, Any], by_somebody: str) -> None:
        meddle(shop, by_somebody)
        objects = shop.set(**world)
        for item in objects:
            if item["kind"] == "Deployment":
                # What pods do is not the plan's matter, and waiting for them would be most of the time.
                item["spec"]["replicas"] = 0
        before, kept = seen(shop), history(shop)
        planned = plan(shop, objects, tmp_path, keep)
        run(shop, objects, keep)
        happened = difference(before, seen(shop))
        assert actions(planned) == happened, (world, by_somebody)
        stored = {planned["history"]["stored"]} - {None}
        assert kept | stored == history(shop) | set(planned["history"]["dropped"]), (world, by_somebody)
        assert not history(shop) & set(planned["history"]["dropped"])
        assert planned["changed"] or not happened
        for action in ("created", "changed", "deleted"):
            tried[action] += action in happened.values()
        tried["unchanged"] += not happened
        assert plan(shop, objects, tmp_path, keep)["changed"] is False

    compare()
    assert min(tried["created"], tried["deleted"], tried["changed"]) > 0, tried


def test_a_plan_shows_before_and_after_and_no_secret(shop: Shop, kubectl: Kubectl, tmp_path: Path) -> None:
    run(shop, shop.set())
    password = kubectl.json("secret", "database", "-n", shop.namespace)["data"]["password"]
    kubectl("patch", "secret", "database", "-n", shop.namespace, "--type=merge", "-p", '{"data": {"host": "b3RoZXI="}}')
    planned = plan(shop, shop.set(pods="20", image="shop:2"), tmp_path)
    by_name = {item["object"]: item for item in planned["objects"]}
    quota = by_name[f"ResourceQuota {shop.namespace}/tier"]
    assert (quota["action"], quota["phase"]) == ("changed", "infrastructure")
    assert "pods: '10'" in quota["before"]
    assert "pods: '20'" in quota["after"]
    assert by_name[f"Secret {shop.namespace}/database"]["action"] == "changed"
    assert planned["route"] == {"from": "r1", "to": "r2"}
    assert planned["revision"] == {"current": "r1", "planned": "r2"}
    assert planned["history"] == {"stored": "r2", "dropped": []}
    for path in tmp_path.rglob("plan.*"):
        text = path.read_text()
        assert password not in text
        assert base64.b64decode(password).decode() not in text
    text = next(path for path in tmp_path.rglob("plan.txt")).read_text()
    assert f"Plan of tenant {shop.name}, " in text
    assert ": r1 serves, the run would bring r2." in text
    assert f"  ~ ResourceQuota {shop.namespace}/tier  (infrastructure)" in text
    assert f"  + Deployment {shop.namespace}/booking-r2  (workloads)" in text
    assert f"  - Deployment {shop.namespace}/booking-r1  (workloads)" in text
    assert "-    pods: '10'\n+    pods: '20'" in text
    assert "Customers: moved from r1 to r2" in text
    assert "Revisions kept: r2 is stored" in text


def test_a_plan_of_another_host_says_that_the_old_claim_is_released(shop: Shop, tmp_path: Path) -> None:
    def hosted(host: str) -> list[dict[str, Any]]:
        objects = shop.set()
        objects[0]["metadata"]["annotations"]["barberpro.platform/host"] = host
        return objects

    run(shop, hosted(f"{shop.name}.barberpro.test"))
    before = seen(shop)
    planned = plan(shop, hosted(f"{shop.name}-new.barberpro.test"), tmp_path)
    claims = sorted(action for name, action in actions(planned).items() if name.startswith("ConfigMap barberpro-system/host-"))
    assert claims == ["created", "deleted"]
    run(shop, hosted(f"{shop.name}-new.barberpro.test"))
    assert actions(planned) == difference(before, seen(shop))


def test_a_plan_that_cannot_be_written_says_so(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    given_ = {"path": str(tmp_path / "file"), "tenant": shop.name, "release": {"revision": "r1"}, "kubeconfig": shop.kubeconfig}
    assert modules.call(deploy_plan, given_)["msg"] == (
        f"the plan of tenant {shop.name} cannot be written: Not a directory ({tmp_path}/file/{shop.name}); "
        "make room or name another path by pipeline_report_path"
    )
