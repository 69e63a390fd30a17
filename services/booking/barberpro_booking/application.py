"""Put the service together: engine, applications, readiness, housekeeping."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.types import ASGIApp

from barberpro_booking.admin import admin_router
from barberpro_booking.api import public_router
from barberpro_booking.metrics import BookingMetrics
from barberpro_booking.migrations import MIGRATIONS
from barberpro_booking.page import page_routes
from barberpro_booking.service import Booking
from barberpro_service import __version__, errors, runner
from barberpro_service.config import Environment
from barberpro_service.database import PoolCollector, engine_for
from barberpro_service.housekeeping import housekeeping
from barberpro_service.lifecycle import Lifecycle
from barberpro_service.management import BearerToken, management_app
from barberpro_service.metrics import Metrics
from barberpro_service.middleware import ServiceMiddleware
from barberpro_service.migrations import check_schema
from barberpro_service.personal.data_keys import data_keys


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
    api = FastAPI(
        title="BarberPro booking", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    errors.install(api)
    async with data_keys(environment, engine) as keys:
        booking = Booking(engine, clock, keys)
        lifecycle = Lifecycle({"database": lambda: check_schema(engine, MIGRATIONS), "key": booking.customers.readiness()})
        api.include_router(public_router(booking, BookingMetrics(metrics), environment))
        page_routes(api, booking, environment)
        async with housekeeping(booking.tidy, metrics):
            yield Application(
                ServiceMiddleware(api, environment.revision, metrics, lifecycle),
                management_app(metrics, lifecycle, BearerToken(environment.admin_dir), admin_router(booking)),
                lifecycle,
                booking,
            )
    await engine.dispose()


async def serve(environment: Environment) -> None:
    """Serve until SIGTERM."""
    async with application(environment) as built:
        await runner.serve(built.public, built.management, built.lifecycle, environment)
