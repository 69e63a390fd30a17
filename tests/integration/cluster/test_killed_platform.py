"""The first `make platform` of a cluster killed at points all along its way: the same command goes on from there, to what one that was never killed leaves."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import NOTHING_LEFT, Checkout
from tests.support.sigkill import killed_later_and_later
from tests.support.waiting import equal_to, until

# Beside its like (test_killed.py): on a worker of its own, with a cluster of another checkout.
pytestmark = [pytest.mark.cluster("killed"), pytest.mark.slow, pytest.mark.timeout(3000)]

NAMESPACED = (
    "deployments,statefulsets,daemonsets,services,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,persistentvolumeclaims,"
    "poddisruptionbudgets,resourcequotas,limitranges,gateways,httproutes,envoyproxies,prometheuses,alertmanagers,servicemonitors,prometheusrules"
)
OF_THE_CLUSTER = (
    "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,priorityclasses,gatewayclasses,flowschemas,prioritylevelconfigurations,"
    "validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations"
)
CHOSEN = {"clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "volumeName", "uid", "conversion", "caBundle", "barberpro.platform/configuration"}
"""Fields that the cluster chooses; the last is an annotation that depends on passwords, which are others in each cluster."""


@pytest.fixture
def beside() -> Iterator[Checkout]:
    """Another checkout, whose cluster is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="barberpro-killed-") as name:
        made = Checkout(Path(name) / "checkout")
        yield made
        made.make("down")
        made.end_orphans()


def without(value: Any, fields: set[str]) -> Any:
    """Return a value without these fields, wherever they are in it."""
    if isinstance(value, dict):
        return {key: without(part, fields) for key, part in value.items() if key not in fields}
    return [without(part, fields) for part in value] if isinstance(value, list) else value


def shape(checkout: Checkout) -> dict[str, Any]:
    """Return all objects of its cluster but those that a controller made, with what a user can set; of Secrets and certificates the keys alone."""
    found = {}
    for kinds in (NAMESPACED, OF_THE_CLUSTER):
        for item in json.loads(checkout.kubectl("get", kinds, "--all-namespaces", "-o", "json"))["items"]:
            metadata = item["metadata"]
            if metadata.get("ownerReferences"):
                continue
            body = without({key: value for key, value in item.items() if key not in ("metadata", "status", "apiVersion")}, CHOSEN)
            for key in ("data", "stringData"):
                hidden = {name: "" for name, text in (body.get(key) or {}).items() if item["kind"] == "Secret" or "BEGIN CERTIFICATE" in text}
                body[key] = {**(body.get(key) or {}), **hidden}
            found[f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"] = {"labels": metadata.get("labels"), **body}
    return found


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Return where two values differ, and how."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [found for key in sorted(before.keys() | after.keys()) for found in differences(before.get(key), after.get(key), f"{path} {key}")]
    return [] if before == after else [f"{path}: {before} -> {after}"]


def test_a_killed_first_make_platform_is_gone_on_with(beside: Checkout) -> None:
    beside.make("cluster", "vault")
    beside.make("platform")
    quiet = shape(beside)
    beside.make("down")
    beside.make("cluster", "vault")
    assert killed_later_and_later(lambda _number, when: beside.killed("platform", when, alone=False), 3.0, 1.5) >= 4
    assert " changed=0 " in beside.make("platform")
    assert differences(quiet, shape(beside)) == []
    leave_a_vault_that_nobody_can_open(beside)
    assert "failed=0" in beside.make("platform")
    assert " changed=0 " in beside.make("platform")
    assert "barbershop-palermo r1: succeeded" in beside.make("deploy")
    beside.make("down")
    assert beside.left() == NOTHING_LEFT


def leave_a_vault_that_nobody_can_open(checkout: Checkout) -> None:
    """Leave what a run leaves that is killed in the moment between Vault's answer to being initialised, which has the key, and keeping that key."""
    begun = {"key": None, "begun": base64.b64encode(b"2026-11-01T00:00:00+00:00").decode()}
    checkout.kubectl("patch", "secret", "vault-unseal", "-n", "barberpro-vault", "--type=merge", "-p", json.dumps({"data": begun}))
    checkout.kubectl("delete", "secret", "vault-deployer", "-n", "barberpro-system")
    checkout.kubectl("delete", "pod", "vault-0", "-n", "barberpro-vault")

    def started() -> str:
        return checkout.kubectl("get", "pod", "vault-0", "-n", "barberpro-vault", "-o", "jsonpath={.status.containerStatuses[0].started}")

    until(started, "Vault to start again", good=equal_to("true"), despite=subprocess.CalledProcessError)
