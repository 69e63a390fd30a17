"""Room for the customer's name and phone encrypted under the tenant's own key, and for the wrapped data keys.

Expand only: the older revision goes on writing the plain columns, this one reads both and moves plain rows over (admin API, housekeeping).
A later release drops the plain columns.
"""

from __future__ import annotations

from alembic import op

from barberpro_service.personal.data_keys import CREATE

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add nullable columns and a table; nothing is rewritten and no row is locked for longer than a moment."""
    op.execute("ALTER TABLE bookings ADD COLUMN customer_name_sealed bytea, ADD COLUMN customer_phone_sealed bytea")
    for statement in CREATE:
        op.execute(statement)


def downgrade() -> None:
    """Not offered: a rollback runs the older image on the newer schema, and never deletes rows."""
    raise NotImplementedError("migrations only go forward")
