"""checkov, kube-score and kubernetes-validate have no objection to what a deploy writes, and would have one if there were a reason."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import manifests, renders

CONTROL = "control"
ENTRY = {"judge": "kube-score", "check": "deployment-replicas", "kinds": ["Deployment"], "reason": "a small market is one replica"}


def bad_pod() -> dict[str, Any]:
    """A pod that every judge must object to: privileged, unbounded, with a field that Kubernetes does not know."""
    container = {"name": "main", "image": "nginx:latest", "securityContext": {"privileged": True}, "portz": []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "tenant-bad"}, "spec": {"hostPID": True, "containers": [container]}}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, manifests.Verdict]:
    """What the judges say of every tier in every market, and of a pod that is as bad as can be. They are asked once, because they start slowly."""
    return manifests.examine({**manifests.all_renders(), CONTROL: [bad_pod()]})


def test_no_judge_finds_anything_but_what_has_its_reason(verdicts: dict[str, manifests.Verdict]) -> None:
    found = [finding for verdict in verdicts.values() for finding in verdict.findings if finding.of_set != CONTROL]
    assert manifests.problems(found, manifests.accepted()) == []


@pytest.mark.parametrize(("judge", "check", "said"), [
    ("checkov", "CKV_K8S_16", "Container should not be privileged"),
    ("checkov", "CKV_K8S_17", "Containers should not share the host process ID namespace"),
    ("kube-score", "container-resources", "CPU limit is not set"),
    ("kubernetes-validate", "1.33", "'portz' was unexpected"),
    ("kubernetes-validate", "1.35", "'portz' was unexpected"),
])
def test_each_judge_objects_to_a_bad_pod(verdicts: dict[str, manifests.Verdict], judge: str, check: str, said: str) -> None:
    found = {finding.check: str(finding) for finding in verdicts[judge].findings if finding.of_set == CONTROL}
    assert said in found.get(check, ""), found


def test_every_set_is_looked_at(verdicts: dict[str, manifests.Verdict]) -> None:
    sets = len(renders.tiers()) * len(renders.markets())
    assert sets == 16
    for name, verdict in verdicts.items():
        assert verdict.examined > 50 * sets, name


def test_a_finding_that_has_no_reason_is_named() -> None:
    finding = manifests.Finding("checkov", "CKV_K8S_16", "Deployment", "booking-r1", "small-metro", "Container should not be privileged")
    replicas = manifests.Finding("kube-score", "deployment-replicas", "Deployment", "booking-r1", "small-small", "Deployment few replicas")
    assert manifests.problems([finding, replicas], [ENTRY]) == [
        "checkov CKV_K8S_16: small-metro: Deployment booking-r1: Container should not be privileged",
    ]


def test_a_reason_that_nothing_needs_any_more_is_named() -> None:
    assert manifests.problems([], [ENTRY]) == [
        "kube-score deployment-replicas: accepted for Deployment and not found: remove it from accepted.yml",
    ]


def test_every_accepted_finding_has_a_reason() -> None:
    assert [entry["check"] for entry in manifests.accepted() if len(entry["reason"]) < 60] == []
