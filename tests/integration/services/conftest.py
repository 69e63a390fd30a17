"""Both services against a real PostgreSQL: in process for speed and coverage, as processes where that is the point."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

import barberpro_service.encryption
from barberpro_booking import application as booking_application
from barberpro_service.config import Environment, read_database
from barberpro_service.migrations import migrate
from barberpro_walkin import application as walkin_application
from tests.integration.services import postgres
from tests.support.transit import MemoryTransit
from tests.support.waiting import until
from tests.unit.services.factory import document

ROOT = Path(__file__).parents[3]
PACKAGES = ":".join(str(ROOT / "services" / name) for name in ("common", "booking", "walkin_queue"))
ZONE = ZoneInfo("America/Argentina/Buenos_Aires")
# A Monday before opening, in the shop's zone.
NOW = datetime(2027, 3, 1, 8, tzinfo=ZONE)
ADMIN = {"Authorization": "Bearer operator-token"}


@pytest.fixture(scope="session")
def pg() -> Iterator[postgres.Server]:
    with postgres.server() as running:
        yield running


@pytest.fixture
def bare_tenant(pg, tmp_path) -> postgres.Tenant:
    """A tenant whose schema is empty."""
    return postgres.create_tenant(pg, tmp_path)


async def migrate_all(tenant: postgres.Tenant) -> None:
    for migrations in (booking_application.MIGRATIONS, walkin_application.MIGRATIONS):
        await migrate(read_database(tenant.owner_dir), migrations)


@pytest.fixture
def tenant(bare_tenant) -> postgres.Tenant:
    """A tenant whose schema is migrated."""
    asyncio.run(migrate_all(bare_tenant))
    return bare_tenant


def environment_of(tenant: postgres.Tenant, revision: str = "r3") -> Environment:
    return Environment(tenant="palermo", revision=revision, database_dir=tenant.app_dir, database_owner_dir=tenant.owner_dir, admin_dir=tenant.admin_dir)


@dataclass
class Shop:
    """A service in process: its two applications as HTTP clients, and the clock it goes by."""

    built: Any
    http: httpx.AsyncClient
    management: httpx.AsyncClient
    clock: dict[str, datetime]

    async def load(self, **changes: Any) -> httpx.Response:
        return await self.management.put("/admin/settings", json=document(**changes), headers=ADMIN)

    async def book(self, start: str = "2027-03-01T09:00:00-03:00", staff: str | None = "juan", key: str | None = None, **more: Any) -> httpx.Response:
        body = {"service": "corte", "staff": staff, "start": start, "customer": {"name": "Ana López", "phone": "11 5555-1234"}}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex, **more.pop("headers", {})}
        return await self.http.post("/api/v1/bookings", json={**body, **more}, headers=headers)


@contextlib.asynccontextmanager
async def shop_of(factory: Callable[..., Any], tenant: postgres.Tenant, now: datetime = NOW, **more: Any) -> AsyncIterator[Shop]:
    clock = {"now": now}
    async with factory(environment_of(tenant), lambda: clock["now"], **more) as built:
        public, management = (httpx.ASGITransport(app=app) for app in (built.public, built.management))
        async with httpx.AsyncClient(transport=public, base_url="http://shop") as http, httpx.AsyncClient(transport=management, base_url="http://m") as admin:
            yield Shop(built, http, admin, clock)


@pytest.fixture
def transit(monkeypatch) -> MemoryTransit:
    """The tenant's key, in memory."""
    memory = MemoryTransit()
    monkeypatch.setattr(barberpro_service.encryption, "transit_from", lambda _directory: memory)
    return memory


@pytest.fixture
def encrypting(tmp_path) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes of a service's factory one of the service with a key mounted."""
    folder = tmp_path / "encryption"
    folder.mkdir()

    def factory(plain: Callable[..., Any]) -> Callable[..., Any]:
        return lambda environment, clock, **more: plain(environment.model_copy(update={"encryption_dir": folder}), clock, **more)

    return factory


@pytest.fixture
async def booking(tenant) -> AsyncIterator[Shop]:
    """The booking service on a migrated schema with the factory's settings loaded."""
    async with shop_of(booking_application.application, tenant) as shop:
        assert (await shop.load()).status_code == 200
        yield shop


class Process:
    """A service as its container runs it, on free ports."""

    def __init__(self, module: str, tenant: postgres.Tenant, log: Path, revision: str = "r1", **environment: str) -> None:
        self.port, self.management_port = postgres.free_port(), postgres.free_port()
        self.url, self.management = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.management_port}"
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": PACKAGES,
            "BARBERPRO_TENANT": "palermo",
            "BARBERPRO_REVISION": revision,
            "BARBERPRO_BIND": "127.0.0.1",
            "BARBERPRO_PORT": str(self.port),
            "BARBERPRO_MANAGEMENT_PORT": str(self.management_port),
            "BARBERPRO_DATABASE_DIR": str(tenant.app_dir),
            "BARBERPRO_DATABASE_OWNER_DIR": str(tenant.owner_dir),
            "BARBERPRO_ADMIN_DIR": str(tenant.admin_dir),
            "BARBERPRO_DRAIN_SECONDS": "0",
            **environment,
        }
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen([sys.executable, "-m", module, "serve"], env=variables, stdout=output, stderr=subprocess.STDOUT)

    def wait_ready(self) -> None:
        def ended_or_ready() -> bool:
            return self.process.poll() is not None or httpx.get(self.management + "/healthz/ready").status_code == 200

        until(ended_or_ready, f"the service to be ready; its log is {self.log}", despite=httpx.HTTPError)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Process]]:
    """Start services as processes; they are stopped at the end."""
    running: list[Process] = []

    def begin(module: str, tenant: postgres.Tenant, **more: str) -> Process:
        running.append(Process(module, tenant, tmp_path / f"{module}-{len(running)}.log", **more))
        return running[-1]

    yield begin
    for process in running:
        process.stop()
