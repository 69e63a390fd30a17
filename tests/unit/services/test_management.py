"""Probes, token, middleware: what an operator and a gateway see of any service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request

from barberpro_service import errors, lifecycle
from barberpro_service.lifecycle import Lifecycle
from barberpro_service.management import BearerToken, management_app
from barberpro_service.metrics import Metrics
from barberpro_service.middleware import MAX_BODY_BYTES, ServiceMiddleware


def client_of(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


@pytest.fixture
def metrics():
    return Metrics("booking", "palermo", "r3")


async def good() -> str:
    return "schema at 0001"


async def bad() -> str:
    raise RuntimeError("no answer")


async def test_ready_says_what_each_check_saw(metrics, monkeypatch):
    monkeypatch.setattr(lifecycle, "FRESH_SECONDS", -1.0)
    state = Lifecycle({"database": bad})
    async with client_of(management_app(metrics, state, BearerToken(Path("/nowhere")))) as client:
        assert (await client.get("/healthz/live")).status_code == 200
        assert (await client.get("/healthz/startup")).status_code == 503
        answer = await client.get("/healthz/ready")
        assert answer.status_code == 503
        assert answer.json() == {"status": "unavailable", "checks": {"database": {"passed": False, "evidence": "no answer"}}}
        state.checks["database"] = good
        assert (await client.get("/healthz/ready")).json()["checks"]["database"]["evidence"] == "schema at 0001"
        assert (await client.get("/healthz/startup")).json() == {"status": "started"}
        # Once started, a failing dependency makes the pod unready but never restarts it.
        state.checks["database"] = bad
        assert (await client.get("/healthz/ready")).status_code == 503
        assert (await client.get("/healthz/startup")).status_code == 200
        assert (await client.get("/healthz/live")).status_code == 200


async def test_a_check_that_hangs_is_not_ready(monkeypatch):
    monkeypatch.setattr(lifecycle, "CHECK_SECONDS", 0.05)

    async def hang() -> str:
        await asyncio.sleep(60)
        return "never"

    passed, results = await Lifecycle({"database": hang}).readiness()
    assert (passed, results[0].evidence) == (False, "no answer within 0.05 s")


async def test_draining_is_not_ready_and_asks_clients_to_reconnect(metrics):
    state = Lifecycle({"database": good})
    api = FastAPI()
    api.add_api_route("/x", lambda: {"ok": True})
    async with client_of(ServiceMiddleware(api, "r3", metrics, state)) as client:
        assert "connection" not in (await client.get("/x")).headers
        state.draining = True
        assert (await client.get("/x")).headers["connection"] == "close"
    assert (await state.readiness())[0] is False


async def test_admin_needs_the_token_in_force(metrics, tmp_path):
    admin = APIRouter()
    admin.add_api_route("/thing", lambda: {"ok": True})
    app = management_app(metrics, Lifecycle(), BearerToken(tmp_path), admin)
    async with client_of(app) as client:
        closed = await client.get("/admin/thing", headers={"Authorization": "Bearer x"})
        assert (closed.status_code, closed.json()["code"]) == (503, "admin_token_missing")
        (tmp_path / "token").write_text("first\n")
        assert (await client.get("/admin/thing")).status_code == 401
        assert (await client.get("/admin/thing", headers={"Authorization": "Basic first"})).status_code == 401
        assert (await client.get("/admin/thing", headers={"Authorization": "Bearer first"})).status_code == 200
        (tmp_path / "token").write_text("second")
        assert (await client.get("/admin/thing", headers={"Authorization": "Bearer first"})).status_code == 401
        assert (await client.get("/admin/thing", headers={"Authorization": "bearer second"})).status_code == 200
        assert (await client.get("/docs")).status_code == 404


async def test_requests_are_counted_by_template_and_marked(metrics):
    api = FastAPI()
    errors.install(api)

    @api.get("/things/{thing}")
    async def thing(thing: str) -> dict[str, str]:
        if thing == "broken":
            raise ZeroDivisionError("Ana, 1155551234")
        return {"thing": thing}

    @api.post("/things")
    async def add(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    async with client_of(ServiceMiddleware(api, "r3", metrics, Lifecycle())) as client:
        answer = await client.get("/things/1", headers={"X-Request-Id": "abc"})
        assert (answer.headers["x-barberpro-revision"], answer.headers["x-request-id"]) == ("r3", "abc")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert (await client.get("/things/2", headers={"X-Request-Id": "bad id\t"})).headers["x-request-id"] != "bad id\t"
        broken = await client.get("/things/broken")
        assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
        assert broken.headers["x-barberpro-revision"] == "r3"
        assert (await client.get("/nothing")).json() == {"detail": "Not Found", "code": "not_found"}
        assert (await client.put("/things")).json()["code"] == "method_not_allowed"
        assert (await client.post("/things", content=b"x" * MAX_BODY_BYTES)).json() == {"size": MAX_BODY_BYTES}
        large = await client.post("/things", content=b"x" * (MAX_BODY_BYTES + 1))
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")

    async with client_of(management_app(metrics, Lifecycle(), BearerToken(Path("/nowhere")))) as client:
        text = (await client.get("/metrics")).text
    assert 'barberpro_http_request_duration_seconds_count{method="GET",route="/things/{thing}",status="200"} 2.0' in text
    assert 'route="/things/{thing}",status="500"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "barberpro_http_requests_in_flight 0.0" in text
    assert 'barberpro_build_info{revision="r3",service="booking",tenant="palermo",version="0.1.0"} 1.0' in text


async def test_a_failure_outside_the_application_is_answered_too(metrics):
    async def app(scope, receive, send):
        raise RuntimeError("no")

    async with client_of(ServiceMiddleware(app, "r3", metrics, Lifecycle())) as client:
        assert (await client.get("/")).json()["code"] == "internal_error"
