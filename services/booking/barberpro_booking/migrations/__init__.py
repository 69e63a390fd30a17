"""The migrations of the tenant's schema that belong to this service."""

from __future__ import annotations

from pathlib import Path

from barberpro_service.schema import Migrations

MIGRATIONS = Migrations(Path(__file__).parent, "alembic_version_booking")
