"""A small pool of connections to the tenant's schema, which follow rotated credentials, and its metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from barberpro_service.config import ConfigError, DatabaseSettings, read_database
from barberpro_service.connection import DatabaseUnavailable, connect

# A connection this old is replaced before its next use: so long rotated credentials and a leaving pooler take to be done with the old ones.
RECYCLE_SECONDS = 60


def engine_from(
    source: Callable[[], DatabaseSettings],
    application: str,
    pool_size: int = 5,
    pool_overflow: int = 5,
    session: dict[str, str] | None = None,
) -> AsyncEngine:
    """An engine that asks `source` for the settings at each new connection, so that a rotated password needs no restart."""

    async def create() -> asyncpg.Connection[asyncpg.Record]:
        try:
            settings = source()
        except ConfigError as error:
            raise DatabaseUnavailable(str(error)) from error
        return await connect(settings, application, session)

    creator: Callable[[], Awaitable[object]] = create
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        pool_size=pool_size,
        max_overflow=pool_overflow,
        pool_timeout=5,
        pool_recycle=RECYCLE_SECONDS,
        pool_pre_ping=True,
        # Parameters are customers' data: they must not turn up in an exception's text.
        hide_parameters=True,
    )


def engine_for(directory: Path, application: str, pool_size: int = 5, pool_overflow: int = 5) -> AsyncEngine:
    """The engine of a running service for the mounted Secret in `directory`."""
    return engine_from(lambda: read_database(directory), application, pool_size, pool_overflow)


class PoolCollector(Collector):
    """Prometheus gauges of a connection pool: connections in use, idle, and the most it may open."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample a state."""
        family = GaugeMetricFamily(
            "barberpro_database_pool_connections", "Connections of the database pool by state.", labels=["state"]
        )
        pool = self._engine.pool
        if isinstance(pool, AsyncAdaptedQueuePool):
            family.add_metric(["in_use"], pool.checkedout())
            family.add_metric(["idle"], pool.checkedin())
            family.add_metric(["limit"], pool.size() + pool._max_overflow)
        yield family
