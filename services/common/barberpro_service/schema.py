"""Which migration a schema is at, and which one an image brings. Light: a job that finds nothing to do needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncpg

from barberpro_service.config import DatabaseSettings
from barberpro_service.connection import connect


class MigrationError(Exception):
    """The schema was not migrated; the message is one sentence with the reason and the next step."""


@dataclass(frozen=True)
class Migrations:
    """The migrations of one service: folder with env.py and versions/, and its own version table."""

    folder: Path
    version_table: str

    def head(self) -> str:
        """The newest revision that this image knows: the number that the last file's name begins with."""
        head = max((path.name[:4] for path in (self.folder / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")), default=None)
        if head is None:
            raise MigrationError(f"{self.folder} holds no migration; the image is broken, build it again")
        return head


def behind(found: str | None, head: str) -> bool:
    """Is a schema at `found` older than `head`? Ids are increasing numbers: an unknown higher one is a newer image's."""
    return found is None or int(found) < int(head)


async def up_to_date(settings: DatabaseSettings, migrations: Migrations) -> str | None:
    """The revision that the schema is at when this image brings nothing newer, else None.

    Raises DatabaseUnavailable, and MigrationError for an image without migrations.
    """
    connection = await connect(settings, "barberpro-migrate")
    try:
        found: str = await connection.fetchval(f'SELECT version_num FROM "{migrations.version_table}"')
    except asyncpg.PostgresError:
        # No schema, no table, no right: whoever migrates says it.
        return None
    finally:
        await connection.close()
    return None if behind(found, migrations.head()) else found
