"""Put the service together: engine, booking client, applications, readiness, housekeeping."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from barberpro_service import __version__, errors, runner
from barberpro_service.config import ConfigError, Environment
from barberpro_service.database import PoolCollector, engine_for
from barberpro_service.housekeeping import housekeeping
from barberpro_service.lifecycle import Lifecycle
from barberpro_service.management import BearerToken, management_app
from barberpro_service.metrics import Metrics
from barberpro_service.middleware import ServiceMiddleware
from barberpro_service.migrations import check_schema
from barberpro_service.personal.data_keys import data_keys
from barberpro_walkin.admin import admin_router
from barberpro_walkin.api import public_router
from barberpro_walkin.metrics import WalkinMetrics
from barberpro_walkin.migrations import MIGRATIONS
from barberpro_walkin.page import page_routes
from barberpro_walkin.service import Walkin
from barberpro_walkin.upstream import TIMEOUT_SECONDS, BookingClient


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)


def booking_url() -> str:
    """Where the booking service is.

    Raises ConfigError when BOOKING_URL is missing or no http(s) URL.
    """
    url = os.environ.get("BOOKING_URL", "")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"BOOKING_URL is {url!r}; set it to the booking service's address, for example http://booking-r1:8080")
    return url


@dataclass(frozen=True)
class Application:
    """The two ASGI applications and what they share."""

    public: ASGIApp
    management: ASGIApp
    lifecycle: Lifecycle
    walkin: Walkin


@contextlib.asynccontextmanager
async def application(
    environment: Environment, clock: Callable[[], datetime] = utc_now, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Application]:
    """Build the service; on leaving, the housekeeping ends and the connections are closed.

    `transport` replaces the network towards the booking service. Readiness does not depend on booking: without it the
    queue still serves.
    """
    engine = engine_for(environment.database_dir, f"walkin {environment.revision}", environment.pool_size, environment.pool_overflow)
    metrics = Metrics("walkin_queue", environment.tenant, environment.revision)
    metrics.registry.register(PoolCollector(engine))
    own = WalkinMetrics(metrics)
    token = BearerToken(environment.admin_dir)
    api = FastAPI(
        title="BarberPro walk-in queue", version=__version__, docs_url=None, redoc_url=None, openapi_url="/walkin/api/v1/openapi.json"
    )
    errors.install(api)
    async with (
        httpx.AsyncClient(base_url=booking_url(), timeout=TIMEOUT_SECONDS, transport=transport) as http,
        data_keys(environment, engine) as keys,
    ):
        walkin = Walkin(engine, BookingClient(http, own.booking_failures.inc), clock, keys)
        lifecycle = Lifecycle({"database": lambda: check_schema(engine, MIGRATIONS), "key": walkin.customers.readiness()})
        api.include_router(public_router(walkin, own, token, environment))
        page_routes(api, walkin)
        async with housekeeping(walkin.tidy, metrics):
            yield Application(
                ServiceMiddleware(api, environment.revision, metrics, lifecycle),
                management_app(metrics, lifecycle, token, admin_router(walkin)),
                lifecycle,
                walkin,
            )
    await engine.dispose()


async def serve(environment: Environment) -> None:
    """Serve until SIGTERM."""
    async with application(environment) as built:
        await runner.serve(built.public, built.management, built.lifecycle, environment)
