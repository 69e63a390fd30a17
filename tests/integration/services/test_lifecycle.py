"""Starting, losing the database, leaving: as processes, with customers in front."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time

import httpx

from barberpro_booking import application as booking_application
from barberpro_service import runner
from barberpro_service.config import Environment
from barberpro_service.lifecycle import Lifecycle
from tests.integration.services import postgres
from tests.integration.services.conftest import ADMIN, PACKAGES, shop_of
from tests.support.waiting import equal_to, until
from tests.unit.services.factory import document

BOOKING = "barberpro_booking"


class Customers(threading.Thread):
    """Constant requests through a balancer that sends to whoever is ready, as a gateway does; keeps connections open."""

    def __init__(self, instances) -> None:
        super().__init__(daemon=True)
        self.instances = instances
        self.ready = {instance.url: True for instance in instances}
        self.failures: list[str] = []
        self.answered: dict[str, int] = {instance.url: 0 for instance in instances}
        self.over = threading.Event()

    def watch(self) -> None:
        with httpx.Client() as client:
            while not self.over.is_set():
                for instance in self.instances:
                    try:
                        self.ready[instance.url] = client.get(instance.management + "/healthz/ready", timeout=30).status_code == 200
                    except httpx.HTTPError:
                        self.ready[instance.url] = False
                time.sleep(0.1)

    def wait_for(self, answers: int) -> None:
        """Wait until every instance that is ready has answered so often; machines differ in speed."""

        def behind() -> dict[str, int]:
            return {url: self.answered[url] for url, ready in self.ready.items() if ready and self.answered[url] < answers and not self.failures}

        until(behind, f"{answers} answers of each", good=lambda found: not found, pause=0.05)

    def run(self) -> None:
        threading.Thread(target=self.watch, daemon=True).start()
        with httpx.Client(timeout=60) as client:
            number = 0
            while not self.over.is_set():
                number += 1
                targets = [url for url, ready in self.ready.items() if ready]
                if not targets:
                    self.failures.append("nobody is ready")
                    break
                url = targets[number % len(targets)]
                try:
                    answer = client.get(url + "/api/v1/business")
                    self.answered[url] += 1
                    if answer.status_code != 200:
                        self.failures.append(f"{url}: {answer.status_code}")
                except httpx.HTTPError as error:
                    self.failures.append(f"{url}: {error!r}")
                time.sleep(0.005)


def test_constant_requests_through_a_rolling_end_all_succeed(tenant, start):
    # The one that leaves takes so long that whoever watches notices in time, however busy.
    drains = {"r1": "10", "r2": "0"}
    instances = [start(BOOKING, tenant, BARBERPRO_DRAIN_SECONDS=seconds, revision=revision) for revision, seconds in drains.items()]
    for instance in instances:
        instance.wait_ready()
    assert httpx.put(instances[0].management + "/admin/settings", json=document(), headers=ADMIN).status_code == 200
    customers = Customers(instances)
    customers.start()
    customers.wait_for(10)
    started = time.monotonic()
    instances[0].process.send_signal(signal.SIGTERM)
    assert instances[0].process.wait(120) == 0
    took = time.monotonic() - started
    customers.wait_for(max(customers.answered.values()) + 10)
    customers.over.set()
    customers.join(60)
    assert customers.failures == []
    assert min(customers.answered.values()) >= 10
    assert took > 9


async def test_a_request_in_flight_is_finished_after_sigterm():
    """In process: the drain begins at the signal, management says so until the end, the slow answer arrives whole."""
    ports = {"port": postgres.free_port(), "management_port": postgres.free_port()}
    environment = Environment(tenant="x", bind="127.0.0.1", drain_seconds=0.3, shutdown_seconds=120, **ports)
    state = Lifecycle()
    began, enough = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send) -> None:
        began.set()
        await enough.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    serving = asyncio.create_task(runner.serve(slow, management_of(state), state, environment))
    await managed(environment, 200)
    async with httpx.AsyncClient(timeout=60) as client:
        request = asyncio.create_task(client.get(f"http://127.0.0.1:{environment.port}/"))
        await asyncio.wait_for(began.wait(), 60)
        os.kill(os.getpid(), signal.SIGTERM)
        await managed(environment, 503)
        # The drain is over, and nobody else is let in.
        await asyncio.to_thread(until, lambda: not listens(environment.port), "the listening socket to close")
        assert not request.done()
        await managed(environment, 503)
        enough.set()
        assert (await request).text == "done"
    await asyncio.wait_for(serving, 60)


def management_of(state: Lifecycle):
    """An application that says whether the process is about to leave."""

    async def management(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 503 if state.draining else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return management


async def managed(environment: Environment, status: int) -> None:
    """Wait until management answers so."""
    url = f"http://127.0.0.1:{environment.management_port}/"
    good, despite = equal_to(status), httpx.HTTPError
    await asyncio.to_thread(until, lambda: httpx.get(url).status_code, f"management to answer {status}", good=good, despite=despite)


def listens(port: int) -> bool:
    """Say whether anybody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_second_signal_skips_the_drain():
    environment = Environment(tenant="x", bind="127.0.0.1", port=0, management_port=postgres.free_port(), drain_seconds=300)
    state = Lifecycle()

    async def nothing(scope, receive, send) -> None:
        raise AssertionError("nobody asks")

    serving = asyncio.create_task(runner.serve(nothing, management_of(state), state, environment))
    await managed(environment, 200)
    os.kill(os.getpid(), signal.SIGTERM)
    await managed(environment, 503)
    os.kill(os.getpid(), signal.SIGTERM)
    # The drain of five minutes would outlast this.
    await asyncio.wait_for(serving, 60)
    assert serving.done()


def test_a_port_that_is_taken_is_named(tenant, start):
    first = start(BOOKING, tenant)
    first.wait_ready()
    second = start(BOOKING, tenant, BARBERPRO_PORT=str(first.port))
    assert second.process.wait(60) == 1
    assert f"booking serve: cannot listen on 127.0.0.1:{first.port}: Address already in use; free the port or choose another" in second.log.read_text()


async def test_while_the_database_is_away_requests_are_refused_and_then_served_again(tmp_path):
    with postgres.server() as own:
        tenant = postgres.create_tenant(own, tmp_path)
        from tests.integration.services.conftest import migrate_all

        await migrate_all(tenant)
        async with shop_of(booking_application.application, tenant) as shop:
            await shop.load()
            assert (await shop.management.get("/healthz/startup")).status_code == 200
            # Not "immediate": these servers commit without waiting for the disk.
            own.stop("fast")
            answer = await shop.http.get("/api/v1/business")
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "database_unavailable", "5")
            refused = await shop.book()
            assert refused.status_code == 503
            shop.built.lifecycle._checked = -1e9
            ready = await shop.management.get("/healthz/ready")
            assert ready.status_code == 503
            assert f"127.0.0.1:{own.port}" in ready.json()["checks"]["database"]["evidence"]
            assert tenant.read("app", "password") not in ready.text
            assert (await shop.management.get("/healthz/live")).status_code == 200
            own.start()
            assert (await shop.http.get("/api/v1/business")).status_code == 200
            shop.built.lifecycle._checked = -1e9
            assert (await shop.management.get("/healthz/ready")).status_code == 200
            assert (await shop.book()).status_code == 201


async def test_a_rotated_password_is_used_without_a_restart(booking, tenant):
    tenant.sql(f"ALTER ROLE {tenant.schema}_app PASSWORD 'rotated'")
    await booking.built.booking.engine.dispose()
    assert (await booking.http.get("/api/v1/business")).status_code == 503
    (tenant.app_dir / "password").write_text("rotated")
    assert (await booking.http.get("/api/v1/business")).status_code == 200
    (tenant.app_dir / "host").unlink()
    await booking.built.booking.engine.dispose()
    assert (await booking.http.get("/api/v1/business")).status_code == 503


async def test_a_full_pool_refuses_instead_of_hanging(booking, tenant):
    held = [await booking.built.booking.engine.connect() for _turn in range(5)]
    booking.built.booking.engine.pool._timeout = 0.2
    answer = await booking.http.get("/api/v1/business")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    text = (await booking.management.get("/metrics")).text
    assert 'barberpro_database_pool_connections{state="in_use"} 5.0' in text
    for connection in held:
        await connection.close()


def test_a_service_without_its_settings_says_what_is_missing(tenant, start):
    lost = start("barberpro_walkin", tenant)
    assert lost.process.wait(60) == 1
    assert "walkin serve: BOOKING_URL is ''; set it to the booking service's address" in lost.log.read_text()
    assert PACKAGES
