"""The operator's routes for personal fields: how they are stored, seal them anew, hand them out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from barberpro_service.logs import logger
from barberpro_service.personal.fields import Personal

LOG = logger(__name__)


def personal_routes(router: APIRouter, personal: Personal) -> None:
    """Add GET and PUT /encryption and GET /export to the admin router."""

    @router.get("/encryption")
    async def encryption() -> dict[str, Any]:
        """Return how things are with the encryption of personal fields."""
        return await personal.status()

    @router.put("/encryption")
    async def renew() -> dict[str, Any]:
        """Wrap every data key by the newest version of the key, and seal what is stored plain."""
        # Repeatable: what is sealed and wrapped as it should be is left alone.
        rewrapped, version = await personal.keys.rewrap() if personal.keys is not None else (0, 0)
        sealed = await personal.seal_plain()
        LOG.info("keys renewed", rewrapped=rewrapped, version=version, sealed=sealed)
        return {"rewrapped": rewrapped, "version": version, "newly_sealed": sealed, **await personal.status()}

    @router.get("/export")
    async def export() -> StreamingResponse:
        """Return all rows with their personal fields in the clear, one JSON object a line."""
        return StreamingResponse(personal.exported(), media_type="application/jsonl")
