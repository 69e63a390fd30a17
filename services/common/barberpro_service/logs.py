"""Structured logs: one JSON object a line on standard output, without personal data or secrets."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

# Whatever a caller passes under these names is personal or secret and never reaches the log.
HIDDEN = frozenset({"password", "token", "authorization", "phone", "customer", "customer_name", "name", "key"})


def hide(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: replace the values of hidden names by a marker."""
    for key in HIDDEN & event.keys():
        event[key] = "[hidden]"
    return event


def describe(error: BaseException) -> dict[str, Any]:
    """Describe an exception for the log: its type, SQLSTATE and stack, but not a database's message.

    PostgreSQL quotes whole rows in its messages ("Failing row contains (...)"), which would put customers' names
    and telephone numbers into the log.
    """
    cause: BaseException = error
    while getattr(cause, "orig", None) is not None:
        cause = cause.orig  # type: ignore[attr-defined]
    sqlstate = getattr(cause, "sqlstate", None)
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    described: dict[str, Any] = {
        "error": type(error).__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if sqlstate is not None:
        described["sqlstate"] = sqlstate
    elif "sqlalchemy" not in type(error).__module__ and "asyncpg" not in type(error).__module__:
        described["reason"] = str(error)
    return described


def configure(level: str, **bound: str) -> None:
    """Send structlog's and the standard library's logs as JSON lines to standard output.

    `level` is debug, info, warning or error; `bound` (tenant, revision, service) is part of every line.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )

    def identify(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(bound)
        return event

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                identify,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # The request log is our own (route templates, no tokens); uvicorn's would repeat it with raw paths.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.error").setLevel("WARNING")
    logging.getLogger("httpx").setLevel("WARNING")
    logging.getLogger("alembic").setLevel("WARNING")


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for module `name`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
