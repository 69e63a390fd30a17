"""The API server's stand-in, and one way to run a single check against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._gate import Gate, plan_checks, run_gate

from tests.support.api_stand_in import StandIn, stand_in

RunCheck = Callable[..., dict[str, Any]]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StandIn]:
    """An API server's stand-in."""
    with stand_in(tmp_path) as found:
        yield found


@pytest.fixture
def stand_in_client(api: StandIn) -> Client:
    return Client.from_options({"kubeconfig": api.kubeconfig, "request_timeout": 5})


@pytest.fixture
def gate_of(api: StandIn) -> Callable[..., Gate]:
    """Run one check of the registry through a gate, on a cluster where a pod may be without a node for ``node_timeout`` seconds."""

    def run(name: str, /, *, node_timeout: float | None = None, **params: Any) -> Gate:
        options = {"kubeconfig": api.kubeconfig, "request_timeout": 5, "node_timeout": node_timeout}
        clients = Clients(lambda: Client.from_options(options), api.kubeconfig)
        return run_gate("stage", 60, None, plan_checks([{"check": name, **params}], CHECKS, 20), clients)

    return run


@pytest.fixture
def check(gate_of: Callable[..., Gate]) -> Callable[..., str]:
    """Run one check and return "outcome: evidence"."""

    def run(name: str, /, **params: Any) -> str:
        found = gate_of(name, **params).document()["checks"][0]
        return f"{found['outcome']}: {found['evidence']}"

    return run
