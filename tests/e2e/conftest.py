"""The tenants that the end-to-end tests share. They are deployed once, by the playbooks, as an operator would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import cluster, looks
from tests.support.playbooks import Run, deploy, deploy_new, remove

# Another cluster has a network of its own, and nothing here could end its agent.
collect_ignore = ["test_57_policy_agent.py"] if os.environ.get("BARBERPRO_KUBECONFIG") else []

PALERMO = "barbershop-palermo"
RECOLETA = "barbershop-recoleta"

PLANNED: dict[str, Any] = {}
"""The plan of the second tenant's first deploy, and what another client saw before it, after it, and after the deploy."""


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """The facts of a cluster that says that it is for tests."""
    return cluster.facts()


@pytest.fixture(scope="session")
def palermo_deployed(facts: dict[str, Any]) -> Run:
    """The run that brought the demo tenant to what the inventory says; it may have been there already."""
    run = deploy(PALERMO)
    assert run.code == 0, run.output
    return run


@pytest.fixture
def palermo(palermo_deployed: Run) -> str:
    """Name of the demo tenant, which serves when the test begins, and nothing of an earlier test is left."""
    cluster.settle(f"tenant-{PALERMO}")
    assert cluster.ask(PALERMO).status == 200
    return PALERMO


@pytest.fixture(scope="session")
def fresh_deployed(facts: dict[str, Any]) -> Iterator[Run]:
    """The run that deployed a tenant that did not exist before, described by variables alone; as loud as a run can be."""
    remove(RECOLETA)
    before = looks.of(RECOLETA)
    planned = deploy_new(RECOLETA, extra={"plan_only": True})
    assert planned.code == 0, planned.output
    between = looks.of(RECOLETA)
    run = deploy_new(RECOLETA, "--diff", "-vvv")
    assert run.code == 0, run.output
    PLANNED.update(run=planned, before=before, between=between, after=looks.of(RECOLETA))
    yield run
    remove(RECOLETA)


@pytest.fixture
def recoleta(fresh_deployed: Run) -> str:
    """Name of the second tenant, which serves when the test begins, and nothing of an earlier test is left."""
    cluster.settle(f"tenant-{RECOLETA}")
    assert cluster.ask(RECOLETA).status == 200
    return RECOLETA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here may run several deploys: give it more time than a unit test, still with an end."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.timeout(900))
