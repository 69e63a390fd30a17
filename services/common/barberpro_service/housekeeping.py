"""A task beside the requests that tidies every few minutes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.errors import KeysUnavailable, Problem
from barberpro_service.logs import describe, logger

LOG = logger(__name__)

SECONDS = 300.0


@contextlib.asynccontextmanager
async def housekeeping(tidy: Callable[[], Awaitable[None]], seconds: float = SECONDS) -> AsyncIterator[None]:
    """Run `tidy` every `seconds` while the block runs; a database that is away is logged, and asked again the next time."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await tidy()
            except (SQLAlchemyError, DatabaseUnavailable, KeysUnavailable, Problem) as error:
                LOG.warning("tidying failed", **describe(error))

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
