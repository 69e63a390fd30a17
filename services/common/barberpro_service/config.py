"""Configuration of a service: environment variables for what is public, mounted files for what is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SSL_MODES: tuple[SslMode, ...] = get_args(SslMode)


class ConfigError(Exception):
    """A setting is missing or wrong; the message is one sentence that names it and says what to do."""


class Environment(BaseSettings):
    """Settings from `BARBERPRO_*` environment variables (`BARBERPRO_TENANT`, `BARBERPRO_REVISION`, ...)."""

    model_config = SettingsConfigDict(env_prefix="BARBERPRO_", extra="ignore")

    tenant: Annotated[str, Field(min_length=1, max_length=63)]
    revision: Annotated[str, Field(min_length=1, max_length=63)] = "r0"
    bind: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    management_port: Annotated[int, Field(ge=0, le=65535)] = 9090
    # Endpoints and gateways need a moment to learn that this pod is leaving: it keeps serving for so long.
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 5.0
    # After the drain, what is still in flight gets so long. Drain and this must fit the pod's grace period (30 s).
    shutdown_seconds: Annotated[int, Field(ge=1, le=300)] = 20
    database_dir: Path = Path("/etc/barberpro/database")
    # A migration Job may mount the owner's credentials here; without that folder `database_dir` holds them.
    database_owner_dir: Path = Path("/etc/barberpro/database-owner")
    admin_dir: Path = Path("/etc/barberpro/admin")
    # Where Vault and the tenant's key are, with the token to log in with; without that folder nothing is encrypted.
    encryption_dir: Path = Path("/etc/barberpro/encryption")
    # Requests hold a connection for milliseconds; many pods, two revisions during a deployment, share the role's limit.
    pool_size: Annotated[int, Field(ge=1, le=100)] = 2
    pool_overflow: Annotated[int, Field(ge=0, le=100)] = 3
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"


def read_environment() -> Environment:
    """Read and check the environment.

    Raises ConfigError naming each bad variable.
    """
    try:
        return Environment()
    except ValidationError as error:
        parts = []
        for item in error.errors():
            name = "BARBERPRO_" + "_".join(str(part) for part in item["loc"]).upper()
            parts.append(f"{name} is not set" if item["type"] == "missing" else f"{name}: {item['msg']}")
        raise ConfigError("environment: " + "; ".join(parts) + "; correct the container's env and start again") from error


@dataclass(frozen=True)
class DatabaseSettings:
    """Where the tenant's schema is and who we are there; `password` is kept out of repr()."""

    host: str
    port: int
    dbname: str
    schema: str
    sslmode: SslMode
    user: str
    password: str = field(repr=False)
    ca_file: Path | None = None


def _read(directory: Path, name: str) -> str:
    path = directory / name
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError as error:
        raise ConfigError(
            f"database settings: file {path} is missing; mount the Secret with the keys host, port, dbname, schema, "
            f"sslmode, user and password at {directory}"
        ) from error
    except OSError as error:
        raise ConfigError(f"database settings: file {path} cannot be read: {error.strerror}; check the mount's mode") from error
    if not value:
        raise ConfigError(f"database settings: file {path} is empty; correct that key of the Secret")
    return value


def read_database(directory: Path) -> DatabaseSettings:
    """Read the mounted Secret of one database role (one file a key; `ca.crt` is optional).

    Raises ConfigError naming the file and the reason.
    """
    port_text = _read(directory, "port")
    if not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise ConfigError(f"database settings: file {directory / 'port'} says {port_text!r}, which is not a port; use 1-65535")
    mode_text = _read(directory, "sslmode")
    sslmode = next((mode for mode in SSL_MODES if mode == mode_text), None)
    if sslmode is None:
        raise ConfigError(
            f"database settings: file {directory / 'sslmode'} says {mode_text!r}; use one of {', '.join(SSL_MODES)}"
        )
    ca_file = directory / "ca.crt"
    return DatabaseSettings(
        host=_read(directory, "host"),
        port=int(port_text),
        dbname=_read(directory, "dbname"),
        schema=_read(directory, "schema"),
        sslmode=sslmode,
        user=_read(directory, "user"),
        password=_read(directory, "password"),
        ca_file=ca_file if ca_file.is_file() else None,
    )
