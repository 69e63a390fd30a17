"""`python -m barberpro_walkin serve|migrate`."""

from __future__ import annotations

import sys

from barberpro_service.command import main
from barberpro_walkin.application import MIGRATIONS, serve

if __name__ == "__main__":
    sys.exit(main("walkin", MIGRATIONS, serve))
