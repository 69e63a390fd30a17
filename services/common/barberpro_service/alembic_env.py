"""The env.py of every service: run the migrations on the connection that `barberpro_service.migrations` opened."""

from __future__ import annotations

from alembic import context


def run() -> None:
    """Run the migrations in one transaction: all of them or none."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        version_table=attributes["version_table"],
        transaction_per_migration=False,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
