"""The operator's interface below /admin on the management port: settings, and tidying after test runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_booking import business, repository, slots
from barberpro_booking.business import Business
from barberpro_booking.service import Booking
from barberpro_service.errors import Problem, sentence
from barberpro_service.logs import logger
from barberpro_service.personal.admin import personal_routes

LOG = logger(__name__)


async def _bookings_stay(connection: AsyncConnection, stored: Any, wanted: Business, now: datetime) -> None:
    """Refuse a time zone that would have customers come at another time of day than they were told: bookings are kept as instants.

    Raises Problem 422.
    """
    try:
        old = business.load(stored)
    except business.SettingsError:
        # Nobody was told a time by settings that cannot be used, and these are how to mend them.
        return
    if old.timezone == wanted.timezone:
        return
    moved = slots.moved(await repository.starts_after(connection, now), old.zone, wanted.zone)
    if not moved:
        return
    last = moved[-1].astimezone(old.zone)
    rule = (
        f"{wanted.timezone!r} would move {len(moved)} future booking{'s' if len(moved) > 1 else ''}, the last of {last:%Y-%m-%d %H:%M}, whose customers were "
        f"told a time in {old.timezone!r}; keep that until then, or tell them and send the settings with PUT /admin/settings?move_bookings=true"
    )
    errors = [{"path": "timezone", "message": rule}]
    raise Problem(422, "bookings_would_move", f"settings refused: {sentence(errors)}", errors=errors)


def admin_router(booking: Booking) -> APIRouter:
    """The routes; management_app puts them behind the bearer token."""
    router = APIRouter()

    @router.get("/settings")
    async def read() -> dict[str, Any]:
        """Return the stored settings and their etag."""
        async with booking.engine.connect() as connection:
            stored = await repository.read_settings(connection)
        # Before the first load both are null: that is an answer, not an error.
        return {"settings": stored.document if stored else None, "etag": stored.etag if stored else None}

    @router.put("/settings")
    async def write(
        document: Annotated[Any, Body()], if_match: Annotated[str | None, Header(alias="If-Match")] = None, move_bookings: bool = False
    ) -> JSONResponse:
        """Replace the settings; with If-Match, only those with that etag. Another time zone moves no booking unless that is said."""
        try:
            wanted = business.validate(document)
        except business.SettingsError as error:
            raise Problem(422, "invalid_settings", f"settings refused: {error}", errors=error.errors) from error
        async with booking.engine.begin() as connection:
            stored = await repository.read_settings(connection, lock=True)
            if if_match is not None:
                current = stored.etag if stored else "none"
                if if_match.strip('"') != current:
                    raise Problem(
                        412, "settings_changed", f"settings have etag {current}, not {if_match}; read them again before changing them"
                    )
            if stored is not None and not move_bookings:
                await _bookings_stay(connection, stored.document, wanted, booking.clock())
            changed = await repository.write_settings(connection, document)
        LOG.info("settings loaded", changed=changed)
        return JSONResponse({"changed": changed, "etag": repository.etag_of(document)})

    @router.delete("/test-bookings/{run_id}")
    async def purge(run_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]) -> dict[str, int]:
        """Remove the bookings that a test run has made."""
        async with booking.engine.begin() as connection:
            removed = await repository.purge_test_run(connection, run_id)
        LOG.info("test bookings removed", run=run_id, removed=removed)
        return {"removed": removed}

    personal_routes(router, booking.customers)
    return router
