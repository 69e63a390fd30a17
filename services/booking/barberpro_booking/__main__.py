"""`python -m barberpro_booking serve|migrate`."""

from __future__ import annotations

import gc
import sys

# Nothing that is imported here is garbage: to look for some only makes the start longer. Who serves or migrates turns it on again.
gc.disable()

from barberpro_booking.migrations import MIGRATIONS  # noqa: E402
from barberpro_service.command import main  # noqa: E402
from barberpro_service.config import Environment  # noqa: E402


async def serve(environment: Environment) -> None:
    """Serve until SIGTERM."""
    # Imported here: the migrate job does without the web framework and is done sooner.
    from barberpro_booking import application

    await application.serve(environment)


if __name__ == "__main__":
    sys.exit(main("booking", MIGRATIONS, serve))
