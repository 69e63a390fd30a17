"""The operator's interface below /admin on the management port: tidying after test runs, personal fields."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from barberpro_service.logs import logger
from barberpro_service.personal.admin import personal_routes
from barberpro_walkin import repository
from barberpro_walkin.service import Walkin

LOG = logger(__name__)


def admin_router(walkin: Walkin) -> APIRouter:
    """The routes; management_app puts them behind the bearer token."""
    router = APIRouter()

    @router.delete("/test-tickets/{run_id}")
    async def purge(run_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$")]) -> dict[str, int]:
        async with walkin.engine.begin() as connection:
            removed = await repository.purge_test_run(connection, run_id)
        LOG.info("test tickets removed", run=run_id, removed=removed)
        return {"removed": removed}

    personal_routes(router, walkin.customers)
    return router
