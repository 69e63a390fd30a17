"""A real PostgreSQL and real services for the checks; only the API server between them is a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._gate import plan_checks, run_gate

from tests.integration.services import postgres
from tests.support.api_stand_in import StandIn, ready_pod, secret, stand_in
from tests.support.loopback import Reply, Request


@pytest.fixture(scope="session")
def pg() -> Iterator[postgres.Server]:
    with postgres.server() as running:
        yield running


@pytest.fixture
def tenant(pg: postgres.Server, tmp_path: Path) -> postgres.Tenant:
    return postgres.create_tenant(pg, tmp_path / "tenant")


@pytest.fixture
def api(tmp_path: Path, tenant: postgres.Tenant) -> Iterator[StandIn]:
    """An API server's stand-in with the Secrets of the tenant and one booking pod."""
    with stand_in(tmp_path) as found:
        values = {key: tenant.read("app", key) for key in ("host", "port", "dbname", "schema", "sslmode", "user", "password")}
        found.answers["GET /api/v1/namespaces/ns/secrets/booking-database"] = secret("ns", "booking-database", **values)
        found.answers["GET /api/v1/namespaces/ns/secrets/booking-admin"] = secret("ns", "booking-admin", token="operator-token")
        found.items("/api/v1/namespaces/ns/pods", ready_pod("booking-1"))
        yield found


@pytest.fixture
def check(api: StandIn) -> Callable[..., str]:
    """Run one check and return "outcome: evidence"."""

    def run(name: str, /, **params: Any) -> str:
        clients = Clients(lambda: Client.from_options({"kubeconfig": api.kubeconfig}), api.kubeconfig)
        outcome = run_gate("stage", 90, None, plan_checks([{"check": name, **params}], CHECKS, 60), clients).document()["checks"][0]
        return f"{outcome['outcome']}: {outcome['evidence']}"

    return run


def forward_to(url: str) -> Callable[[Request], Reply]:
    """Answer forwarded requests by asking a real server."""

    def answer(request: Request) -> Reply:
        headers = {"Authorization": request.headers.get("authorization", "")}
        found = httpx.request(request.method, url + request.path, json=request.body, headers=headers)
        return Reply(found.status_code, found.text)

    return answer
