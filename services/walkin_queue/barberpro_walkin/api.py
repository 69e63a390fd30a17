"""The public HTTP interface below /walkin on port 8080."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse

from barberpro_service.config import Environment
from barberpro_service.errors import Problem
from barberpro_service.management import BearerToken
from barberpro_walkin.metrics import WalkinMetrics
from barberpro_walkin.schemas import IdempotencyKey, TestRun, TicketRequest
from barberpro_walkin.service import Walkin


def public_router(walkin: Walkin, metrics: WalkinMetrics, token: BearerToken, environment: Environment) -> APIRouter:
    """The routes below /walkin/api/v1. Calling, seating and finishing are the staff's and need the bearer token."""
    router = APIRouter(prefix="/walkin/api/v1")

    @router.get("/version")
    async def version() -> dict[str, str]:
        """Say which tenant and revision answer."""
        return {"tenant": environment.tenant, "revision": environment.revision, "service": "walkin_queue"}

    @router.get("/queue")
    async def queue(request: Request) -> dict[str, Any]:
        """Return who waits today and how long."""
        # With the staff's token the list also has the ids that the actions need; without, no word of who waits.
        staff = "authorization" in request.headers
        if staff:
            token.check(request)
        now = await walkin.queue()
        return {
            "date": now.day.isoformat(),
            "open": now.open,
            "chairs": now.upstream.business.chairs if now.upstream.business else None,
            "waiting": sum(ticket.status == "waiting" for ticket in now.tickets),
            "tickets": await walkin.described(now, staff),
            **now.degraded,
        }

    @router.post("/tickets", status_code=201)
    async def take(
        request: TicketRequest,
        key: Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
        test_run: Annotated[TestRun | None, Header(alias="X-Test-Run")] = None,
    ) -> JSONResponse:
        """Take a ticket; the same key again gets the same one."""
        try:
            ticket, created = await walkin.take(request, key, test_run)
        except Problem as problem:
            metrics.refused.labels(problem.code).inc()
            raise
        if created:
            metrics.tickets.labels(str(test_run is not None).lower()).inc()
        return JSONResponse(ticket, 201, headers=None if created else {"Idempotent-Replayed": "true"})

    _ticket_routes(router, walkin, metrics, token)
    return router


def _ticket_routes(router: APIRouter, walkin: Walkin, metrics: WalkinMetrics, token: BearerToken) -> None:
    @router.get("/tickets/{ticket_id}")
    async def read(ticket_id: uuid.UUID) -> dict[str, Any]:
        """Return a ticket with its place and the estimated wait."""
        return await walkin.find(ticket_id)

    async def act(ticket_id: uuid.UUID, action: str) -> dict[str, Any]:
        ticket, changed = await walkin.act(ticket_id, action)
        if changed:
            metrics.actions.labels(action).inc()
        return ticket

    @router.post("/tickets/{ticket_id}/leave")
    async def leave(ticket_id: uuid.UUID) -> dict[str, Any]:
        """Leave the queue."""
        return await act(ticket_id, "leave")

    def staff_action(action: str) -> None:
        async def endpoint(ticket_id: uuid.UUID) -> dict[str, Any]:
            return await act(ticket_id, action)

        router.add_api_route(f"/tickets/{{ticket_id}}/{action}", endpoint, methods=["POST"], dependencies=[Depends(token.check)], name=action)

    for action in ("call", "serve", "finish"):
        staff_action(action)
