"""Alembic's entry; all logic is shared by the services."""

from barberpro_service import alembic_env

alembic_env.run()
