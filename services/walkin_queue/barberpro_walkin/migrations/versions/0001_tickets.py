"""Tickets, and the counter that numbers them.

A sequence would leave gaps and go on over midnight; one row a day is locked by who takes the next number, and the
unique constraint proves what the counter promises.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables in the tenant's schema (the connection's search_path)."""
    op.execute("CREATE TABLE walkin_days (day date PRIMARY KEY, last_number integer NOT NULL CHECK (last_number > 0))")
    op.execute(
        """
        CREATE TABLE walkin_tickets (
            id uuid PRIMARY KEY,
            day date NOT NULL,
            number integer NOT NULL,
            status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'called', 'serving', 'finished', 'left')),
            service_id text NOT NULL,
            service_name text NOT NULL,
            duration_minutes integer NOT NULL CHECK (duration_minutes > 0),
            customer_name text,
            test_run text,
            key_hash bytea UNIQUE,
            request_hash bytea,
            created_at timestamptz NOT NULL DEFAULT now(),
            called_at timestamptz,
            served_at timestamptz,
            ended_at timestamptz,
            CONSTRAINT walkin_tickets_number UNIQUE (day, number)
        )
        """
    )
    op.execute("CREATE INDEX walkin_tickets_by_test_run ON walkin_tickets (test_run) WHERE test_run IS NOT NULL")


def downgrade() -> None:
    """Not offered: a rollback runs the older image on the newer schema, and never deletes rows."""
    raise NotImplementedError("migrations only go forward")
