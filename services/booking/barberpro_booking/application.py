"""Put the service together: engine, applications, readiness, housekeeping."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from barberpro_booking.admin import admin_router
from barberpro_booking.api import public_router
from barberpro_booking.customers import BookingKeys, Customers
from barberpro_booking.metrics import BookingMetrics
from barberpro_booking.migrations import MIGRATIONS
from barberpro_booking.page import page_routes
from barberpro_booking.service import Booking
from barberpro_service import __version__, errors, runner
from barberpro_service.config import Environment
from barberpro_service.database import PoolCollector, engine_for
from barberpro_service.housekeeping import housekeeping
from barberpro_service.lifecycle import Check, Lifecycle
from barberpro_service.logs import logger
from barberpro_service.management import BearerToken, management_app
from barberpro_service.metrics import Metrics
from barberpro_service.middleware import ServiceMiddleware
from barberpro_service.migrations import check_schema

if TYPE_CHECKING:
    from barberpro_service.encryption import DataKeys

LOG = logger(__name__)


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Application:
    """The two ASGI applications and what they share."""

    public: ASGIApp
    management: ASGIApp
    lifecycle: Lifecycle
    booking: Booking


@contextlib.asynccontextmanager
async def application(environment: Environment, clock: Callable[[], datetime] = utc_now) -> AsyncIterator[Application]:
    """Build the service; on leaving, the housekeeping ends and the connections are closed."""
    engine = engine_for(
        environment.database_dir, f"booking {environment.revision}", environment.pool_size, environment.pool_overflow
    )
    metrics = Metrics("booking", environment.tenant, environment.revision)
    metrics.registry.register(PoolCollector(engine))
    keys, close_keys = _keys(environment, engine)
    customers = Customers(engine, keys)
    booking = Booking(engine, clock, customers)
    lifecycle = Lifecycle({"database": lambda: check_schema(engine, MIGRATIONS), "key": customers.check if keys else _once(customers.check)})
    api = FastAPI(
        title="BarberPro booking", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    errors.install(api)
    api.include_router(public_router(booking, BookingMetrics(metrics), environment))
    page_routes(api, booking, environment)
    async with housekeeping(booking.tidy):
        yield Application(
            ServiceMiddleware(api, environment.revision, metrics, lifecycle),
            management_app(metrics, lifecycle, BearerToken(environment.admin_dir), admin_router(booking)),
            lifecycle,
            booking,
        )
    await close_keys()
    await engine.dispose()


def _keys(environment: Environment, engine: AsyncEngine) -> tuple[DataKeys | None, Callable[[], Awaitable[None]]]:
    """The tenant's data keys and how to let them go; none where no key is mounted."""

    async def nothing() -> None:
        """There is nothing to close."""

    if not environment.encryption_dir.is_dir():
        LOG.warning("customers are stored as they come: no key is mounted", path=str(environment.encryption_dir))
        return None, nothing
    # Imported here: a pod without a key starts sooner without.
    from barberpro_service import encryption

    transit = encryption.transit_from(environment.encryption_dir)
    return (encryption.DataKeys(environment.tenant, BookingKeys(engine), transit), transit.close) if transit else (None, nothing)


def _once(check: Check) -> Check:
    """A check that is not asked again once it has passed.

    While a deploy turns encryption on, the new revision makes the first data key and the one before, which has none, serves on beside it.
    """
    passed: list[str] = []

    async def asked() -> str:
        if not passed:
            passed.append(await check())
        return passed[0]

    return asked


async def serve(environment: Environment) -> None:
    """Serve until SIGTERM."""
    async with application(environment) as built:
        await runner.serve(built.public, built.management, built.lifecycle, environment)
