"""The operator's interface below /admin on the management port: settings, and tidying after test runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path
from fastapi.responses import JSONResponse

from barberpro_booking import business, repository
from barberpro_booking.service import Booking
from barberpro_service.errors import Problem
from barberpro_service.logs import logger
from barberpro_service.personal.admin import personal_routes

LOG = logger(__name__)


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
        document: Annotated[Any, Body()], if_match: Annotated[str | None, Header(alias="If-Match")] = None
    ) -> JSONResponse:
        """Replace the settings; with If-Match, only those with that etag."""
        try:
            business.validate(document)
        except business.SettingsError as error:
            raise Problem(422, "invalid_settings", f"settings refused: {error}", errors=error.errors) from error
        async with booking.engine.begin() as connection:
            if if_match is not None:
                stored = await repository.read_settings(connection, lock=True)
                current = stored.etag if stored else "none"
                if if_match.strip('"') != current:
                    raise Problem(
                        412, "settings_changed", f"settings have etag {current}, not {if_match}; read them again before changing them"
                    )
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
