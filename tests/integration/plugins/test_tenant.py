"""The tenant module on a real API server, seen by kubectl."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.modules import fleet

from tests.support import modules

from .conftest import Kubectl, Shop

pytestmark = pytest.mark.simulated
CREDENTIALS = [
    {"name": "booking-database", "data": {"host": "db.example", "port": 5432}, "initial": {"user": "first"}, "generate": ["password"]},
    {"name": "booking-admin", "secret_data": {"given": "canary-given"}, "generate": ["token"]},
]


def values(kubectl: Kubectl, namespace: str, name: str) -> dict[str, str]:
    data = kubectl.json("secret", name, "-n", namespace)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {item["object"].split("/")[-1]: item["action"] for item in result["objects"]}


def test_a_tenant_is_there_when_the_module_returns(shop: Shop) -> None:
    result = shop.tenant(shop.set(), credentials=CREDENTIALS)
    assert (result["changed"], result["created"], result["namespace"]) == (True, True, shop.namespace)
    assert set(actions(result).values()) == {"created"}
    quota = shop.kubectl.json("quota", "tier", "-n", shop.namespace)
    assert quota["status"]["hard"] == quota["spec"]["hard"] == {"pods": "10", "limits.cpu": "4", "configmaps": "100"}
    assert shop.kubectl.names("deploy", shop.namespace) == set()  # only infrastructure


def test_a_secret_of_a_type_of_its_own(shop: Shop) -> None:
    config = json.dumps({"auths": {"registry.example": {"auth": "canary-registry"}}})
    asked = [{"name": "registry", "type": "kubernetes.io/dockerconfigjson", "secret_data": {".dockerconfigjson": config}}]
    result = shop.tenant(shop.set(), credentials=asked, diff=True)
    assert shop.kubectl.json("secret", "registry", "-n", shop.namespace)["type"] == "kubernetes.io/dockerconfigjson"
    assert values(shop.kubectl, shop.namespace, "registry") == {".dockerconfigjson": config}
    assert "canary-registry" not in json.dumps(result)
    assert not shop.tenant(shop.set(), credentials=asked)["changed"]


def test_generated_values_are_kept_and_never_shown(shop: Shop) -> None:
    first = shop.tenant(shop.set(), credentials=CREDENTIALS, diff=True)
    before = values(shop.kubectl, shop.namespace, "booking-database")
    assert len(before["password"]) >= 43
    assert (before["host"], before["port"]) == ("db.example", "5432")
    assert before["user"] == "first"
    moved = [{**CREDENTIALS[0], "data": {"host": "other.example", "port": 5432}, "initial": {"user": "second"}}, CREDENTIALS[1]]
    second = shop.tenant(shop.set(), credentials=moved, diff=True)
    after = values(shop.kubectl, shop.namespace, "booking-database")
    assert after == {**before, "host": "other.example"}
    assert [item for item in second["objects"] if item["action"] != "unchanged"] == [
        {"object": f"Secret {shop.namespace}/booking-database", "action": "changed"}
    ]
    shown = json.dumps([first, second])
    for secret in (before["password"], "canary-given", base64.b64encode(b"canary-given").decode()):
        assert secret not in shown
    assert "(redacted " in shown


def test_a_second_run_writes_nothing(shop: Shop) -> None:
    shop.tenant(shop.set(), credentials=CREDENTIALS)
    before = shop.versions()
    assert shop.tenant(shop.set(), credentials=CREDENTIALS)["changed"] is False
    assert shop.versions() == before


def test_what_others_changed_is_named_and_taken_over_only_when_told(shop: Shop) -> None:
    shop.tenant(shop.set(extra=("config",)))
    patch = ("patch", "configmap", "config", "-n", shop.namespace, "--type=merge", "--field-manager=somebody")
    shop.kubectl(*patch, "-p", '{"data": {"key": "other", "more": "theirs"}}')
    result = shop.tenant(shop.set(extra=("config",)))
    assert result["msg"] == (
        f"ConfigMap {shop.namespace}/config: .data.key was set by field manager somebody; "
        "change it back there, leave it out of the template, or take it over with force_conflicts"
    )
    assert actions(shop.tenant(shop.set(extra=("config",)), force_conflicts=True))["config"] == "changed"
    assert shop.kubectl.json("configmap", "config", "-n", shop.namespace)["data"] == {"key": "value", "more": "theirs"}


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_what_somebody_opened_by_hand_is_named_and_closed_again(shop: Shop, side: str) -> None:
    shop.tenant(shop.set())
    policy = ("networkpolicy", "default-deny", "-n", shop.namespace)
    shop.kubectl("patch", *policy, "--type=merge", "--field-manager=somebody", "-p", json.dumps({"spec": {side: [{}]}}))
    for check in (True, False):
        assert shop.tenant(shop.set(), check=check)["msg"].startswith(
            f"NetworkPolicy {shop.namespace}/default-deny: .spec.{side} was set by field manager somebody; change it back there"
        )
    assert actions(shop.tenant(shop.set(), force_conflicts=True))["default-deny"] == "changed"
    assert set(shop.kubectl.json(*policy)["spec"]) == {"podSelector", "policyTypes"}
    assert not shop.tenant(shop.set())["changed"]


def test_what_was_deleted_comes_back(shop: Shop) -> None:
    shop.tenant(shop.set())
    shop.kubectl("delete", "networkpolicy", "default-deny", "-n", shop.namespace)
    assert actions(shop.tenant(shop.set(), check=True))["default-deny"] == "created"
    assert actions(shop.tenant(shop.set()))["default-deny"] == "created"
    assert "NetworkPolicy/default-deny" in shop.kubectl.names("netpol", shop.namespace)


def test_a_lost_record_is_found_again_without_a_change(shop: Shop) -> None:
    shop.tenant(shop.set())
    versions = shop.kubectl.versions(shop.namespace, "nobody")
    shop.kubectl("delete", "secret", "-n", "barberpro-system", f"release-{shop.name}-record")
    assert shop.tenant(shop.set())["changed"] is False
    assert shop.kubectl.versions(shop.namespace, "nobody") == versions
    assert f"Secret barberpro-system/release-{shop.name}-record" in shop.versions()


def test_a_namespace_of_somebody_else_is_refused(shop: Shop) -> None:
    shop.kubectl("create", "namespace", shop.namespace)
    result = shop.tenant(shop.set())
    assert result["msg"] == (
        f"Namespace {shop.namespace} exists already and does not belong to tenant {shop.name} "
        "(it lacks the label barberpro.platform/tenant); remove it or choose another name"
    )
    assert shop.kubectl.names("netpol", shop.namespace) == set()
    assert "does not belong to tenant" in shop.tenant(state="absent", confirm=shop.name)["msg"]


def test_a_secret_of_somebody_else_is_refused(shop: Shop) -> None:
    shop.tenant(shop.set())
    shop.kubectl("create", "secret", "generic", "booking-admin", "-n", shop.namespace, "--from-literal=a=b")
    result = shop.tenant(shop.set(), credentials=CREDENTIALS)
    assert f"Secret {shop.namespace}/booking-admin exists already and does not belong to tenant {shop.name}" in result["msg"]


def test_a_secret_that_a_pod_of_the_tenant_awaits_is_not_made(shop: Shop) -> None:
    shop.tenant(shop.set(), credentials=CREDENTIALS[:1])
    pod = {"containers": [{"name": "main", "image": "mine:1", "env": [
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "booking-admin", "key": "token", "optional": True}}}]}]}
    mine = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mine", "namespace": shop.namespace}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "mine"}}, "template": {"metadata": {"labels": {"app": "mine"}}, "spec": pod}}}
    shop.kubectl("create", "-f", "-", stdin=json.dumps(mine))
    refused = (
        f"Secret {shop.namespace}/booking-admin is to be made by the platform for its own workloads, and Deployment mine of the tenant's own would read it; "
        "have the tenant's owner take it out there (a Secret of another name is the tenant's to make), then run again"
    )
    wanted = shop.set(extra=("config",))
    for check in (True, False):
        assert shop.tenant(wanted, credentials=CREDENTIALS, check=check)["msg"] == refused
        asked = {"name": shop.name, "objects": wanted, "credentials": CREDENTIALS}
        told = modules.call(fleet, {"tenants": [asked], "kubeconfig": shop.kubeconfig, "wait_timeout": 30}, check=check)
        assert told["tenants"][0]["msg"] == refused
    assert not {"ConfigMap/config", "Secret/booking-admin"} & shop.kubectl.names("cm,secret", shop.namespace)
    shop.kubectl("delete", "deployment", "mine", "-n", shop.namespace)
    assert actions(shop.tenant(wanted, credentials=CREDENTIALS))["booking-admin"] == "created"


def test_removal_needs_the_name_typed(shop: Shop) -> None:
    shop.deploy(shop.set())
    result = shop.tenant(state="absent", confirm="yes")
    assert result["msg"].endswith("repeat the name in confirm (given: 'yes')")
    before = shop.versions()
    assert shop.tenant(state="absent", confirm=shop.name, check=True)["changed"] is True
    assert shop.versions() == before
    assert shop.tenant(state="absent", confirm=shop.name)["changed"] is True
    assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""
    assert shop.versions() == {}
    assert shop.tenant(state="absent", confirm=shop.name)["changed"] is False


@pytest.mark.parametrize("name", ["UPPER", "a" * 41, "-x", "a_b"])
def test_names_that_cannot_be(shop: Shop, name: str) -> None:
    result = shop.tenant([], name=name)
    assert result["msg"].startswith(f"tenant name '{name}' ({len(name)} characters) is not an RFC 1123 label of at most 40 characters")


def test_objects_of_another_tenant_are_refused(shop: Shop) -> None:
    objects = shop.set()
    objects[1]["metadata"]["labels"]["barberpro.platform/tenant"] = "other"
    result = shop.tenant(objects)
    assert result["msg"] == (f"ResourceQuota {shop.namespace}/tier: label barberpro.platform/tenant must be {shop.name}; correct the template that made it")
    assert shop.kubectl("get", "namespace", shop.namespace, "--ignore-not-found") == ""


def test_a_field_that_no_object_has_is_refused_by_name(shop: Shop, client: Client) -> None:
    objects = shop.set()
    next(obj for obj in objects if obj["kind"] == "NetworkPolicy")["spec"]["podSelectors"] = {}
    told = shop.tenant(objects)
    assert told["failed"], told
    assert told["msg"].startswith(f"NetworkPolicy {shop.namespace}/default-deny: apply refused by the API server: ")
    assert ".spec.podSelectors: field not declared in schema" in told["msg"]
    route = next(obj for obj in objects if obj["kind"] == "HTTPRoute")
    route["spec"]["hostname"] = "one"
    with pytest.raises(ApiError, match=r"\.spec\.hostname: field not declared in schema"):
        Resources(client).apply(route, dry_run=True)
