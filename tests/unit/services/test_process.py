"""The process around a service: commands, housekeeping, encrypted connections."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from barberpro_booking.migrations import MIGRATIONS
from barberpro_service import command, connection, schema
from barberpro_service.config import DatabaseSettings, Environment
from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.housekeeping import housekeeping
from barberpro_service.metrics import Metrics

SETTINGS = DatabaseSettings("db", 5432, "barberpro", "t_1", "verify-full", "app", "secret")


@pytest.fixture
def quiet():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(("failure", "level"), [(DatabaseUnavailable("away"), "warning"), (KeyError("nobody thought of this"), "error")])
async def test_housekeeping_goes_on_after_a_failure_and_ends_with_the_service(failure, level):
    calls: list[int] = []
    enough = asyncio.Event()
    metrics = Metrics("booking", "palermo", "r1")

    def told(name: str) -> float:
        return metrics.registry.get_sample_value(f"barberpro_housekeeping_{name}") or 0.0

    begun = told("last_success_timestamp_seconds")
    assert (begun > 0, told("failures_total")) == (True, 0)

    async def tidy() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise failure
        if len(calls) == 3:
            enough.set()

    with capture_logs() as lines:
        async with housekeeping(tidy, metrics, seconds=0.01):
            await asyncio.wait_for(enough.wait(), 10)
    assert [(line["log_level"], line["event"], line["error"]) for line in lines] == [(level, "tidying failed", type(failure).__name__)]
    assert told("failures_total") == 1
    assert told("last_success_timestamp_seconds") > begun
    seen = len(calls)
    await asyncio.sleep(0.05)
    assert len(calls) == seen


@pytest.mark.parametrize(("mode", "checks_name"), [("verify-full", True), ("verify-ca", False)])
def test_verifying_modes_check_the_certificate(mode, checks_name):
    context = connection._ssl(replace(SETTINGS, sslmode=mode))
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, checks_name)


def test_other_modes_are_the_drivers_own():
    assert connection._ssl(replace(SETTINGS, sslmode="require")) == "require"


async def test_a_server_that_does_not_answer_is_named(monkeypatch):
    async def hang(**_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(connection.asyncpg, "connect", hang)
    with pytest.raises(DatabaseUnavailable, match=r"database barberpro at db:5432 as app: no answer within 5 s; check the address and the network policy"):
        await connection.connect(replace(SETTINGS, sslmode="disable"), "test")


def test_an_image_without_migrations_is_broken(tmp_path: Path):
    (tmp_path / "versions").mkdir()
    with pytest.raises(schema.MigrationError, match="holds no migration; the image is broken, build it again"):
        schema.Migrations(tmp_path, "v").head()


def test_serving_is_a_command_and_its_failures_are_told_once(monkeypatch, capsys, quiet):
    seen: list[Environment] = []

    async def serve(environment: Environment) -> None:
        seen.append(environment)

    monkeypatch.setenv("BARBERPRO_TENANT", "palermo")
    assert command.main("booking", MIGRATIONS, serve, ["serve"]) == 0
    assert seen[0].tenant == "palermo"

    async def fail(environment: Environment) -> None:
        raise DatabaseUnavailable("database barberpro at db:5432: away")

    assert command.main("booking", MIGRATIONS, fail, ["serve"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "booking serve: database barberpro at db:5432: away\n"
    assert '"event": "serve failed"' in captured.out


def test_migrating_without_a_mounted_secret_says_what_to_mount(monkeypatch, capsys, quiet, tmp_path):
    monkeypatch.setenv("BARBERPRO_TENANT", "palermo")
    monkeypatch.setenv("BARBERPRO_DATABASE_DIR", str(tmp_path))

    async def serve(environment: Environment) -> None:
        raise AssertionError

    assert command.main("booking", MIGRATIONS, serve, ["migrate"]) == 1
    assert "port is missing; mount the Secret" in capsys.readouterr().err
