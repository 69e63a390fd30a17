"""The comparison with kstatus counts what differs on purpose and tells everything else."""

from __future__ import annotations

from collections import Counter
from typing import Any

from benchmarks.kstatus import Dice, compare


def job(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "generation": 1}, "spec": {}, "status": status}


def test_what_differs_on_purpose_is_counted_and_the_rest_told() -> None:
    objects = [job(startTime="2026-01-01T00:00:00Z"), job(), job()]
    answers = [{"status": "Current"}, {"status": "InProgress"}, {"status": "Failed", "message": "because"}]
    known, other = compare(objects, answers, 0.0)
    assert known == Counter({"a job that runs": 1})
    assert len(other) == 1
    assert other[0].startswith("Job: we say progress (the job has not started), kstatus failed (because): {")


def test_every_kind_is_drawn() -> None:
    dice = Dice(1)
    kinds = {dice.object()["kind"] for _number in range(2000)}
    assert kinds >= {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod", "CustomResourceDefinition", "PersistentVolumeClaim", "Thing"}
