"""What the scenario's tenant must look like after two revisions and the way back."""

from __future__ import annotations

import pytest

from tests.support import cluster

TENANT = "molecule-rollback"
NAMESPACE = f"tenant-{TENANT}"

pytestmark = pytest.mark.cluster


def test_revision_one_serves() -> None:
    answer = cluster.ask(TENANT, "/api/v1/version")
    assert answer.headers["x-barberpro-revision"] == "r1"
    assert answer.json()["tenant"] == TENANT


def test_nothing_of_revision_two_is_left() -> None:
    left = [
        f"{item['kind']}/{item['metadata']['name']}" for item in cluster.objects("deployments,services,httproutes", "-n", NAMESPACE)
        if item["metadata"]["name"].endswith("-r2")
    ]
    assert left == []


def test_infrastructure_is_that_of_revision_one() -> None:
    hard = cluster.objects("resourcequota", "-n", NAMESPACE)[0]["spec"]["hard"]
    assert hard["pods"] == "30"


def test_revision_two_is_still_kept() -> None:
    kept = cluster.objects("secrets", "-n", "barberpro-system", "-l", f"barberpro.platform/tenant={TENANT}")
    numbers = {item["metadata"]["labels"].get("barberpro.platform/revision", "") for item in kept}
    assert {"r1", "r2"} <= numbers or {"1", "2"} <= numbers, numbers
