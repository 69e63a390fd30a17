# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a set of objects asks of a cluster, summed up."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.filter.pod_demand import FilterModule

pod_demand = FilterModule().filters()["pod_demand"]


def workload(kind: str, count: dict[str, int], *containers: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "spec": {**count, "template": {"spec": {"containers": [{"resources": c} for c in containers]}}}}


def test_replicas_jobs_and_sidecars_are_added_up() -> None:
    small = {
        "requests": {"cpu": "25m", "memory": "128Mi", "ephemeral-storage": "64Mi"}, "limits": {"cpu": "0.4", "memory": "320Mi", "ephemeral-storage": "256Mi"},
    }
    demand = pod_demand(
        [
            workload("Deployment", {"replicas": 3}, small, {"requests": {"cpu": "5m"}}),
            workload("StatefulSet", {}, small),
            workload("Job", {"parallelism": 2}, {"limits": {"cpu": 1}}),
            {"kind": "Service", "spec": {"ports": []}},
        ]
    )
    assert demand["requests"] == {"cpu": "115m", "memory": "512Mi", "ephemeral-storage": "256Mi", "pods": "6"}
    assert demand["limits"] == {"cpu": "3600m", "memory": "1.25Gi", "ephemeral-storage": "1Gi"}
    assert demand["largest"] == {"cpu": "30m", "memory": "128Mi", "ephemeral-storage": "64Mi"}


def test_of_jobs_and_the_probes_that_follow_them_the_greater_counts_by_resource() -> None:
    objects = [
        workload("Deployment", {"replicas": 2}, {"requests": {"cpu": "50m"}, "limits": {"cpu": "400m", "memory": "100Mi"}}),
        workload("Job", {}, {"requests": {"cpu": "20m"}, "limits": {"cpu": "250m", "memory": "256Mi"}}),
    ]
    demand = pod_demand(objects, probes=2)
    assert demand["limits"] == {"cpu": "1400m", "memory": "456Mi", "ephemeral-storage": "0"}  # CPU for two probes of 300m, memory for the Job
    assert demand["requests"] == {"cpu": "120m", "memory": "64Mi", "ephemeral-storage": "0", "pods": "4"}
    assert demand["largest"] == {"cpu": "50m", "memory": "0", "ephemeral-storage": "0"}


def test_objects_without_pods_ask_for_nothing() -> None:
    assert pod_demand([{"kind": "ConfigMap"}])["requests"] == {"cpu": "0", "memory": "0", "ephemeral-storage": "0", "pods": "0"}


def test_a_wrong_quantity_names_itself() -> None:
    with pytest.raises(AnsibleFilterError, match="'lots' is not a quantity; correct the workload's resources"):
        pod_demand([workload("Deployment", {"replicas": 1}, {"requests": {"cpu": "lots"}})])
