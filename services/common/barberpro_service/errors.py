"""Refusals that a client reads: a status, a stable `code` and one sentence as `detail`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from barberpro_service.connection import DatabaseUnavailable, sqlstate_of
from barberpro_service.logs import describe, logger

LOG = logger(__name__)

# lock_not_available, query_canceled, deadlock_detected, serialization_failure, too_many_connections, *_shutdown,
# cannot_connect_now, connection failures: trying again later is the right thing to do.
TRANSIENT_SQLSTATES = ("55P03", "57014", "40P01", "40001", "53300", "57P01", "57P02", "57P03", "08")


class KeysUnavailable(Exception):
    """A data key cannot be had; the message is one sentence with the reason, and holds no secret."""


class SealError(Exception):
    """A sealed value cannot be opened: it is damaged, was moved, or is another tenant's. The message holds no content."""


class Problem(Exception):
    """A request is refused; becomes `{"detail", "code", **extra}` with the status."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = extra

    def response(self) -> JSONResponse:
        """The answer that the client gets."""
        body = {"detail": self.detail, "code": self.code, **self.extra}
        headers = {"Retry-After": "5"} if self.status == 503 else None
        return JSONResponse(body, status_code=self.status, headers=headers)


def path_of(location: Sequence[str | int]) -> str:
    """Write a pydantic location as a path: `("staff", 0, "name")` -> `staff[0].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "(document)"


def field_errors(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Turn pydantic's errors into `[{"path", "message"}]`; the rejected values are left out, they may be personal."""
    return [
        {"path": path_of(item["loc"]), "message": str(item["msg"]).removeprefix("Value error, ")}
        for item in errors
    ]


def sentence(errors: Sequence[dict[str, str]]) -> str:
    """One sentence over all field errors."""
    return "; ".join(f"{item['path']}: {item['message']}" for item in errors)


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = field_errors(
        [{**item, "loc": item["loc"][1:] if len(item["loc"]) > 1 else item["loc"]} for item in error.errors()]
    )
    return Problem(422, "invalid_request", f"Solicitud inválida: {sentence(errors)}", errors=errors).response()


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(error.status_code, f"http_{error.status_code}")
    response = Problem(error.status_code, code, str(error.detail)).response()
    response.headers.update(error.headers or {})
    return response


async def _database(_request: Request, error: Exception) -> JSONResponse:
    state = sqlstate_of(error) or ""
    transient = isinstance(error, (DatabaseUnavailable, sqlalchemy.exc.TimeoutError)) or state.startswith(TRANSIENT_SQLSTATES)
    if not transient and not isinstance(error, sqlalchemy.exc.InterfaceError):
        return await _unexpected(_request, error)
    LOG.warning("database unavailable", **describe(error))
    return Problem(503, "database_unavailable", "El servicio no está disponible; probá de nuevo en unos segundos.").response()


async def _keys(_request: Request, error: Exception) -> JSONResponse:
    LOG.warning("keys unavailable", **describe(error))
    return Problem(503, "keys_unavailable", "El servicio no está disponible; probá de nuevo en unos segundos.").response()


async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    LOG.error("request failed", **describe(error))
    return Problem(500, "internal_error", "Ocurrió un error inesperado; probá de nuevo más tarde.").response()


def install(app: FastAPI) -> None:
    """Make `app` answer every refusal and failure in the one format."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DatabaseUnavailable, _database)
    app.add_exception_handler(KeysUnavailable, _keys)
    app.add_exception_handler(sqlalchemy.exc.SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _unexpected)
