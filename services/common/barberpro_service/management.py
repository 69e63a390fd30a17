"""The management application on port 9090: probes, metrics and, for the operator's token alone, `/admin`."""

from __future__ import annotations

import hmac
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from barberpro_service import errors
from barberpro_service.errors import Problem
from barberpro_service.lifecycle import Lifecycle
from barberpro_service.logs import logger
from barberpro_service.metrics import Metrics

LOG = logger(__name__)


class BearerToken:
    """Compares a request's bearer token with the mounted file, read at each request so that a rotation counts at once."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "token"

    def expected(self) -> str | None:
        """The token in force; None when no usable file is mounted."""
        try:
            return self.path.read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def check(self, request: Request) -> None:
        """Dependency of a route.

        Raises Problem 401 for a missing or wrong token, 503 when no token is mounted (closed, not open).
        """
        expected = self.expected()
        if expected is None:
            LOG.error("no admin token is mounted", path=str(self.path))
            raise Problem(503, "admin_token_missing", f"no admin token is mounted at {self.path}; mount the Secret and try again")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise Problem(401, "unauthorized", "a valid bearer token is required: Authorization: Bearer <token>")


def management_app(metrics: Metrics, lifecycle: Lifecycle, token: BearerToken, admin: APIRouter | None = None) -> FastAPI:
    """Build the management application; `admin` is mounted below /admin behind the token."""
    app = FastAPI(title="management", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)

    @app.get("/healthz/live")
    async def live() -> dict[str, str]:
        # That this coroutine runs is the proof: a dead database is no reason to restart the process.
        return {"status": "live"}

    @app.get("/healthz/ready")
    async def ready() -> JSONResponse:
        passed, results = await lifecycle.readiness()
        body = {
            "status": "ready" if passed else "unavailable",
            "checks": {result.name: {"passed": result.passed, "evidence": result.evidence} for result in results},
        }
        return JSONResponse(body, status_code=200 if passed else 503)

    @app.get("/healthz/startup")
    async def startup() -> JSONResponse:
        # Started means: was ready once. From then on a failing dependency makes the pod unready, not restarted.
        if not lifecycle.started:
            await lifecycle.readiness()
        started = lifecycle.started
        return JSONResponse({"status": "started" if started else "starting"}, status_code=200 if started else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        metrics.draining.set(lifecycle.draining)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    if admin is not None:
        app.include_router(admin, prefix="/admin", dependencies=[Depends(token.check)])
    return app
