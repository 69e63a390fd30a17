"""The command line that every service has: `serve` and `migrate`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from barberpro_service.config import ConfigError, Environment, read_database, read_environment
from barberpro_service.connection import DatabaseUnavailable
from barberpro_service.logs import configure, logger
from barberpro_service.schema import MigrationError, Migrations, up_to_date

LOG = logger(__name__)


async def _migrate(environment: Environment, migrations: Migrations) -> None:
    gc.enable()
    owner = environment.database_owner_dir
    directory = owner if owner.is_dir() else environment.database_dir
    settings = read_database(directory)
    before = after = await up_to_date(settings, migrations)
    if after is None:
        # Imported here: most deploys bring no migration, and a job of 0.2 CPU is done in half the time without.
        from barberpro_service.migrations import migrate

        before, after = await migrate(settings, migrations)
    LOG.info("migrated", schema=settings.schema, before=before, after=after, changed=before != after)


def main(
    service: str,
    migrations: Migrations,
    serve: Callable[[Environment], Awaitable[None]],
    argv: Sequence[str] | None = None,
) -> int:
    """Run `serve` (until SIGTERM) or `migrate`; returns the exit code, 1 after a failure told in one log line."""
    parser = argparse.ArgumentParser(prog=f"barberpro_{service}", description=f"BarberPro service {service}.")
    parser.add_argument("command", choices=["serve", "migrate"], help="serve requests, or migrate the tenant's schema and exit")
    command = parser.parse_args(argv).command
    configure("info", service=service)
    try:
        environment = read_environment()
        configure(environment.log_level, tenant=environment.tenant, revision=environment.revision, service=service)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(serve, environment) if command == "serve" else _migrate(environment, migrations))
    except (ConfigError, DatabaseUnavailable, MigrationError) as error:
        # Also as plain text: the last lines of a failed pod are what an operator is shown.
        LOG.error(f"{command} failed", reason=str(error))
        print(f"{service} {command}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(serve: Callable[[Environment], Awaitable[None]], environment: Environment) -> None:
    await serve(environment)
