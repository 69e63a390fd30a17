"""A task beside the requests that tidies every few minutes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.errors import KeysUnavailable, Problem
from barberpro_service.logs import describe, logger
from barberpro_service.metrics import Metrics

LOG = logger(__name__)

SECONDS = 300.0
FORESEEN = (SQLAlchemyError, DatabaseUnavailable, KeysUnavailable, Problem)


@contextlib.asynccontextmanager
async def housekeeping(tidy: Callable[[], Awaitable[None]], metrics: Metrics, seconds: float = SECONDS) -> AsyncIterator[None]:
    """Run `tidy` every `seconds` while the block runs; a turn that fails is logged and counted, and the next one comes all the same."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await tidy()
            except Exception as error:  # noqa: BLE001 - whatever it is: personal data would be kept for ever if the task ended here
                metrics.housekeeping_failures.inc()
                # What a dependency does passes by itself; anything else is a defect that somebody has to look at.
                (LOG.warning if isinstance(error, FORESEEN) else LOG.error)("tidying failed", **describe(error))
            else:
                metrics.housekeeping_succeeded.set_to_current_time()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
