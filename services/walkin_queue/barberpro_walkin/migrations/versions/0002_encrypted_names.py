"""Room for the customer's name encrypted under the tenant's own key.

Expand only: the older revision goes on writing the plain column, this one reads both and seals plain rows (admin API, housekeeping).
"""

from __future__ import annotations

from alembic import op

from barberpro_service.personal.data_keys import CREATE

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a nullable column; the table of keys is there where booking came first.

    It may be locked by a pod that makes a key, so it is waited for before the queue is locked.
    """
    for statement in CREATE:
        op.execute(statement)
    op.execute("ALTER TABLE walkin_tickets ADD COLUMN customer_name_sealed bytea")


def downgrade() -> None:
    """Not offered: a rollback runs the older image on the newer schema, and never deletes rows."""
    raise NotImplementedError("migrations only go forward")
