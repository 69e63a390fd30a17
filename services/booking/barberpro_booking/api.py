"""The public HTTP interface on port 8080."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from barberpro_booking.metrics import BookingMetrics
from barberpro_booking.schemas import BookingRequest, Day, IdempotencyKey, TestRun
from barberpro_booking.service import Booking
from barberpro_service.config import Environment
from barberpro_service.errors import Problem

Token = Annotated[str | None, Header(alias="X-Booking-Token", max_length=200)]


def _required(token: str | None) -> str:
    if not token:
        raise Problem(401, "token_required", "Falta el encabezado X-Booking-Token con la clave del turno.")
    return token


def public_router(booking: Booking, metrics: BookingMetrics, environment: Environment) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/version")
    async def version() -> dict[str, str]:
        """Say which tenant and revision answer."""
        return {"tenant": environment.tenant, "revision": environment.revision, "service": "booking"}

    @router.get("/business")
    async def business() -> dict[str, Any]:
        """Return what customers may know of the business: services, prices, staff, opening hours."""
        document = (await booking.business()).model_dump(mode="json", by_alias=True)
        for service in document["services"]:
            service["price"] = float(service["price"])
        return document

    @router.get("/availability")
    async def availability(
        service: Annotated[str, Query(max_length=40)],
        day: Annotated[Day, Query(alias="date")],
        staff: Annotated[str | None, Query(max_length=40)] = None,
    ) -> dict[str, Any]:
        """Return the free slots of a service on a day, with whom."""
        business, free = await booking.availability(service, day, staff or None)
        return {
            "service": service,
            "date": day.isoformat(),
            "timezone": business.timezone,
            "slots": [{"start": slot.start.astimezone(business.zone).isoformat(), "staff": slot.staff} for slot in free],
        }

    @router.get("/busy")
    async def busy(day: Annotated[Day | None, Query(alias="date")] = None) -> dict[str, Any]:
        """Return when somebody is booked on a day, today without one."""
        # For the walk-in queue. The gateway routes it too: it says no more than availability already does.
        business, wanted, periods = await booking.busy(day)
        return {
            "date": wanted.isoformat(),
            "timezone": business.timezone,
            "busy": [
                {"start": start.astimezone(business.zone).isoformat(), "end": end.astimezone(business.zone).isoformat()}
                for start, end in periods
            ],
        }

    _booking_routes(router, booking, metrics)
    return router


def _booking_routes(router: APIRouter, booking: Booking, metrics: BookingMetrics) -> None:
    @router.post("/bookings", status_code=201)
    async def book(
        request: BookingRequest,
        key: Annotated[IdempotencyKey, Header(alias="Idempotency-Key")],
        test_run: Annotated[TestRun | None, Header(alias="X-Test-Run")] = None,
    ) -> JSONResponse:
        """Book a slot; the same key again gets the same answer, and books nothing."""
        try:
            answer = await booking.book(request, key, test_run)
        except Problem as problem:
            metrics.refused.labels(problem.code).inc()
            raise
        if answer.replayed:
            return JSONResponse(answer.body, answer.status, headers={"Idempotent-Replayed": "true"})
        if answer.status == 201:
            metrics.created.labels(str(test_run is not None).lower()).inc()
        else:
            metrics.refused.labels(answer.body["code"]).inc()
        return JSONResponse(answer.body, answer.status)

    @router.get("/bookings/{booking_id}")
    async def read(booking_id: uuid.UUID, token: Token = None) -> dict[str, Any]:
        """Return a booking to whoever has its token."""
        return await booking.find(booking_id, _required(token))

    @router.delete("/bookings/{booking_id}")
    async def cancel(booking_id: uuid.UUID, token: Token = None) -> dict[str, Any]:
        """Cancel a booking; doing it again changes nothing."""
        body, changed = await booking.cancel(booking_id, _required(token))
        if changed:
            metrics.cancelled.inc()
        return body
