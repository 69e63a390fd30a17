"""The tenants that the end-to-end tests share: two pairs, so that two workers can go on side by side.

They are deployed once, by the playbooks, as an operator would. Tests marked ``cluster("beside")`` use Caballito and Boedo, the others Palermo and Recoleta.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support import cluster, looks, secret_values
from tests.support.playbooks import RUNS, Run, deploy, deploy_new, remove
from tests.support.turns import turn
from tests.support.waiting import equal_to, until

# Another cluster has files, a network and processes of its own: nothing here could end its agent or its API server, and `make demo` starts no other one.
OF_THE_EMBEDDED = [
    "test_05_embedded.py", "test_12_demo.py", "test_42_outages.py", "test_56_fair_share.py", "test_57_policy_agent.py", "test_90_two_checkouts.py",
]
collect_ignore = OF_THE_EMBEDDED if os.environ.get("BARBERPRO_KUBECONFIG") else []

PALERMO = "barbershop-palermo"
RECOLETA = "barbershop-recoleta"

PLANNED: dict[str, Any] = {}
"""The plan of the second tenant's first deploy, and what another client saw before it, after it, and after the deploy."""


def serves(tenant: str) -> None:
    """Wait until nothing of an earlier test is left in a tenant's namespace and customers are served; on a busy machine a pod may miss a probe."""
    cluster.settle(f"tenant-{tenant}")
    until(partial(_answer, tenant), f"the page of {tenant}", 90, good=equal_to(200), pause=1)


def _answer(tenant: str) -> int | str:
    """Return the status with which a tenant's page answers, or why it does not."""
    try:
        return cluster.ask(tenant).status
    except OSError as error:
        return str(error)


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """The facts of a cluster that says that it is for tests."""
    return cluster.facts()


@pytest.fixture(scope="session")
def palermo_deployed(facts: dict[str, Any]) -> Run:
    """The run that brought the demo tenant to what the inventory says; it may have been there already."""
    with turn():
        run = deploy(PALERMO)
    assert run.code == 0, run.output
    return run


@pytest.fixture
def palermo(palermo_deployed: Run) -> str:
    """Name of the demo tenant, which serves when the test begins, and nothing of an earlier test is left."""
    serves(PALERMO)
    return PALERMO


@pytest.fixture(scope="session")
def fresh_deployed(facts: dict[str, Any]) -> Iterator[Run]:
    """The run that deployed a tenant that did not exist before, described by variables alone; as loud as a run can be."""
    with turn():
        remove(RECOLETA)
        before = looks.of(RECOLETA)
        planned = deploy_new(RECOLETA, extra={"plan_only": True})
        assert planned.code == 0, planned.output
        between = looks.of(RECOLETA)
        run = deploy_new(RECOLETA, "--diff", "-vvv")
        assert run.code == 0, run.output
        PLANNED.update(run=planned, before=before, between=between, after=looks.of(RECOLETA))
    yield run
    with turn():
        remove(RECOLETA)


@pytest.fixture
def recoleta(fresh_deployed: Run) -> str:
    """Name of the second tenant, which serves when the test begins, and nothing of an earlier test is left."""
    serves(RECOLETA)
    return RECOLETA


@pytest.fixture(scope="session")
def caballito_deployed(facts: dict[str, Any]) -> Iterator[None]:
    """Deploys a tenant like the demo's, for the tests that run beside."""
    with turn():
        run = deploy(cluster.CABALLITO)
    assert run.code == 0, run.output
    yield
    with turn():
        remove(cluster.CABALLITO)


@pytest.fixture
def caballito(caballito_deployed: None) -> str:
    """Name of the demo tenant's like, which serves when the test begins, and nothing of an earlier test is left."""
    serves(cluster.CABALLITO)
    return cluster.CABALLITO


@pytest.fixture(scope="session")
def boedo_deployed(facts: dict[str, Any]) -> Iterator[None]:
    """Deploys a tenant that variables alone describe, anew."""
    with turn():
        remove(cluster.BOEDO)
        run = deploy_new(cluster.BOEDO)
    assert run.code == 0, run.output
    yield
    with turn():
        remove(cluster.BOEDO)


@pytest.fixture
def boedo(boedo_deployed: None) -> str:
    """Name of the second tenant beside, which serves when the test begins, and nothing of an earlier test is left."""
    serves(cluster.BOEDO)
    return cluster.BOEDO


@pytest.fixture(autouse=True)
def _no_secret_is_shown() -> Iterator[None]:
    """What playbooks have printed, planned and reported up to the end of a test holds none of the secrets that the cluster has then."""
    yield
    values = secret_values.found() if RUNS else {}
    while RUNS:
        run = RUNS.pop()
        assert secret_values.shown(run.output, values) == []
        for path in run.files:
            assert secret_values.shown(path.read_text(errors="replace"), values) == [], path


@pytest.fixture(scope="module", autouse=True)
def _turn_of_a_module(request: pytest.FixtureRequest) -> Iterator[bool]:
    """A module marked ``alone`` waits once for the others' tests, not once for each of its own; whether it is one."""
    if request.node.get_closest_marker("alone") is not None:
        with turn(alone=True):
            yield True
    else:
        yield False


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, _turn_of_a_module: bool) -> Iterator[None]:
    """A test marked ``alone`` takes away what all tenants need: it waits for the others' tests, and they for it."""
    if _turn_of_a_module:
        yield
        return
    with turn(alone=request.node.get_closest_marker("alone") is not None):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here may run several deploys: give it more time than a unit test, still with an end."""
    for item in items:
        if item.path.parent.name == "e2e" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))
