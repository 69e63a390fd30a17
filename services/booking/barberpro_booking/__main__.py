"""`python -m barberpro_booking serve|migrate`."""

from __future__ import annotations

import sys

from barberpro_booking.application import MIGRATIONS, serve
from barberpro_service.command import main

if __name__ == "__main__":
    sys.exit(main("booking", MIGRATIONS, serve))
