"""What happens around every request: identity and security headers, metrics, one log line, a size limit, draining."""

from __future__ import annotations

import json
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from barberpro_service.lifecycle import Lifecycle
from barberpro_service.logs import describe, logger
from barberpro_service.metrics import Metrics

LOG = logger("request")

MAX_BODY_BYTES = 64 * 1024
REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")

SECURITY_HEADERS = {
    # Scripts and styles come from our own files alone: no inline code, nothing from elsewhere, no frames.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ServiceMiddleware:
    """Wraps a service's public application; see the module's docstring."""

    def __init__(self, app: ASGIApp, revision: str, metrics: Metrics, lifecycle: Lifecycle) -> None:
        self.app = app
        self.revision = revision
        self.metrics = metrics
        self.lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
        started = time.perf_counter()
        status = 0
        size = 0

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > MAX_BODY_BYTES:
                    # The one kind of exception that FastAPI lets through while it parses a body.
                    raise HTTPException(413, "La solicitud es demasiado grande.")
            return message

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(MutableHeaders(scope=message), request_id)
            await send(message)

        self.metrics.in_flight.inc()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, receive_limited, send_marked)
        except Exception as error:  # noqa: BLE001 - the last resort: uvicorn would log the message, which may quote personal data
            # Starlette raises again what its handlers have already answered and logged.
            if status == 0:
                await self._refuse(send_marked, error)
        finally:
            self.metrics.in_flight.dec()
            self._account(scope, status, time.perf_counter() - started)
            structlog.contextvars.unbind_contextvars("request_id")

    def _mark(self, headers: MutableHeaders, request_id: str) -> None:
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        headers["X-Barberpro-Revision"] = self.revision
        headers["X-Request-Id"] = request_id
        if self.lifecycle.draining:
            # A kept-alive connection would be cut when the process ends; asking for a new one moves its client on.
            headers["Connection"] = "close"

    async def _refuse(self, send: Send, error: Exception) -> None:
        LOG.error("request failed", **describe(error))
        body = {"detail": "Ocurrió un error inesperado; probá de nuevo más tarde.", "code": "internal_error"}
        payload = json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        # The template, never the path itself: paths hold ids, and each would be a time series of its own.
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        self.metrics.requests.labels(scope["method"], route, str(status)).observe(seconds)
        LOG.info("request", method=scope["method"], route=route, status=status, milliseconds=round(seconds * 1000, 1))
