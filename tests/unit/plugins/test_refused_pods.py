"""Pods that the API server did not let a controller create: which refusals are final, and which have passed."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess

QUOTA = 'pods "b-1" is forbidden: exceeded quota: tier, requested: pods=1, used: pods=10, limited: pods=10'
SUSPECT = "forbidden: User \"system:serviceaccount:kube-system:job-controller\" cannot create"
EARLY, LATER = "2026-01-01T12:00:00Z", "2026-01-01T12:00:20Z"


def job(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "m", "namespace": "ns", "uid": "j"}, "status": status}


def refused(message: str, at: str) -> dict[str, Any]:
    return {"reason": "FailedCreate", "involvedObject": {"uid": "j"}, "message": message, "lastTimestamp": at, "metadata": {}}


def pod(name: str, *, namespace: str = "ns", ours: bool = False, ending: bool = False, created: str = EARLY, **waiting: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": name, "creationTimestamp": created}
    metadata |= {"ownerReferences": [{"uid": "j"}]} if ours else {}
    metadata |= {"deletionTimestamp": LATER} if ending else {}
    status = {"phase": "Pending", "containerStatuses": [{"name": "main", "image": "i", "state": {"waiting": waiting}}] if waiting else []}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "i"}]}, "status": status}


@pytest.mark.parametrize(
    ("beside", "outcome"),
    [
        ([], "failed"),
        ([pod("old", ending=True)], "progress"),
        ([pod("old")], "failed"),
        ([pod("another's", namespace="other", ending=True)], "failed"),
    ],
)
def test_a_full_quota_is_final_unless_pods_in_it_are_ending(beside: list[dict[str, Any]], outcome: str) -> None:
    found = assess(job(), Related(beside, (), [refused(QUOTA, EARLY)]))
    said = "its pods are refused by the quota of the namespace: exceeded quota: tier, requested: pods=1, used: pods=10, limited: pods=10"
    assert (found.outcome, found.reason) == (outcome, said + ("; pods of it that are ending: 1" if outcome == "progress" else ""))


def test_a_refusal_is_over_when_a_pod_was_created_since() -> None:
    event = refused(QUOTA, EARLY)
    assert assess(job(), Related([pod("m-1", ours=True, created=LATER)], (), [event])).outcome == "progress"
    assert assess(job(), Related([pod("m-1", ours=True)], (), [refused(QUOTA, LATER)])).outcome == "failed"


def test_what_is_final_is_not_hidden_by_what_may_heal() -> None:
    broken = pod("m-1", ours=True, reason="InvalidImageName", message="no")
    found = assess(job(), Related([broken], (), [refused(SUSPECT, LATER)]))
    assert (found.outcome, "image i cannot be pulled" in found.reason) == ("failed", True)
