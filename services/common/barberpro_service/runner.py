"""Run a service: public and management servers in one loop, and an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from barberpro_service.config import ConfigError, Environment
from barberpro_service.lifecycle import Lifecycle
from barberpro_service.logs import logger

LOG = logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's server without its own signal handling: we drain before it may stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket (port 0 takes a free one).

    Raises ConfigError naming the address and the reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; free the port or choose another") from error


def _server(app: ASGIApp, environment: Environment) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            # The gateway in front is trusted for nothing: client addresses are neither used nor logged.
            proxy_headers=False,
            # Longer than the hour for which gateways keep idle connections: if we closed first, a request that is just
            # being sent on such a connection would fail.
            timeout_keep_alive=3900,
            timeout_graceful_shutdown=environment.shutdown_seconds,
        )
    )


async def serve(public: ASGIApp, management: ASGIApp, lifecycle: Lifecycle, environment: Environment) -> None:
    """Serve until SIGTERM or SIGINT, then leave without dropping a request.

    On the signal: readiness fails at once (gateway and endpoints move on) while requests are still taken for
    `drain_seconds`; then the listening socket closes and what is in flight gets `shutdown_seconds`. A second signal
    skips the drain. Management answers until the end. Raises ConfigError when a port cannot be had.
    """
    sockets = listen(environment.bind, environment.port), listen(environment.bind, environment.management_port)
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    servers = _server(public, environment), _server(management, environment)
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener])) for server, listener in zip(servers, sockets, strict=True)
    ]
    # What has been imported and built stays for good: the collector, which the start does without, need never look at it.
    gc.freeze()
    gc.enable()
    LOG.info("serving", port=sockets[0].getsockname()[1], management_port=sockets[1].getsockname()[1])
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    lifecycle.draining = True
    LOG.info("draining", seconds=environment.drain_seconds)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), environment.drain_seconds)
    for server, task in zip(servers, tasks, strict=True):
        server.should_exit = True
        await task
    stopping.cancel()
    LOG.info("stopped")
