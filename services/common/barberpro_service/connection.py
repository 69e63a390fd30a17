"""One connection to the tenant's schema in PostgreSQL, without the weight of an engine: a job that finds nothing to do needs no more."""

from __future__ import annotations

import os
import ssl

import asyncpg

from barberpro_service.config import DatabaseSettings, SslMode

CONNECT_SECONDS = 5.0
# A request must not hang on a lock or a runaway query: milliseconds, set for every connection.
SESSION = {"statement_timeout": "8000", "lock_timeout": "3000", "idle_in_transaction_session_timeout": "15000"}


class DatabaseUnavailable(Exception):
    """No connection could be made; the message says where and why and holds no secret."""


def sqlstate_of(error: BaseException) -> str | None:
    """SQLSTATE of a database error, looking through SQLAlchemy's wrappers; None when there is none."""
    current: BaseException | None = error
    while current is not None:
        state = getattr(current, "sqlstate", None)
        if isinstance(state, str):
            return state
        current = getattr(current, "orig", None)
    return None


def _ssl(settings: DatabaseSettings) -> ssl.SSLContext | SslMode:
    """What asyncpg wants for the mode; a mounted ca.crt is the authority that verify-ca and verify-full trust."""
    if settings.sslmode not in ("verify-ca", "verify-full"):
        return settings.sslmode
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    context.check_hostname = settings.sslmode == "verify-full"
    return context


async def connect(
    settings: DatabaseSettings, application: str, session: dict[str, str] | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """Open one connection whose search_path is the tenant's schema alone.

    The session's settings are set, not sent along at the start, which poolers refuse. Raises DatabaseUnavailable with one
    sentence: address, reason, next step.
    """
    schema = '"' + settings.schema.replace('"', '""') + '"'
    wanted = {"search_path": schema, **{name: f"'{value}'" for name, value in (SESSION if session is None else session).items()}}
    where = f"database {settings.dbname} at {settings.host}:{settings.port} as {settings.user}"
    try:
        connection = await asyncpg.connect(
            host=settings.host,
            port=settings.port,
            database=settings.dbname,
            user=settings.user,
            password=settings.password,
            ssl=_ssl(settings),
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": application, "timezone": "UTC"},
        )
        try:
            await connection.execute("; ".join(f"SET {name} = {value}" for name, value in wanted.items()), timeout=CONNECT_SECONDS)
        except BaseException:
            connection.terminate()
            raise
        return connection
    except TimeoutError as error:
        raise DatabaseUnavailable(
            f"{where}: no answer within {CONNECT_SECONDS:g} s; check the address and the network policy"
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise DatabaseUnavailable(f"{where}: the server refuses the role or its password; check the mounted Secret") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        raise DatabaseUnavailable(f"{where}: {reason}; check that the server runs and the address is right") from error
