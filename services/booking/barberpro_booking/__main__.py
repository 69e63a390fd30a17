"""`python -m barberpro_booking serve|migrate`."""

from __future__ import annotations

import sys

from barberpro_booking.migrations import MIGRATIONS
from barberpro_service.command import main
from barberpro_service.config import Environment


async def serve(environment: Environment) -> None:
    """Serve until SIGTERM."""
    # Imported here: the migrate job does without the web framework and is done sooner.
    from barberpro_booking import application

    await application.serve(environment)


if __name__ == "__main__":
    sys.exit(main("booking", MIGRATIONS, serve))
