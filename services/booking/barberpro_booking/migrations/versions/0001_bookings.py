"""Settings, bookings and idempotency keys.

How double booking is made impossible: an exclusion constraint on the bookings themselves, so that no code path, no
second revision of the service and no hand at psql can get round it. The usual form, `staff_id WITH =`, needs the
extension btree_gist, which a schema's owner may not create. Ranges are indexed by GiST without any extension, and
for two ranges of one point each "overlaps" means "equal": a range type over text makes the staff id such a point.
Collation "C" keeps the comparison independent of the server's locale.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables in the tenant's schema (the connection's search_path)."""
    _settings()
    _bookings()
    _idempotency_keys()


def _settings() -> None:
    op.execute(
        """
        CREATE TABLE business_settings (
            id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
            document jsonb NOT NULL,
            etag text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )


def _bookings() -> None:
    op.execute('CREATE TYPE staff_range AS RANGE (subtype = text, collation = "C")')
    op.execute(
        """
        CREATE TABLE bookings (
            id uuid PRIMARY KEY,
            service_id text NOT NULL,
            service_name text NOT NULL,
            price numeric(12, 2) NOT NULL,
            staff_id text NOT NULL,
            staff_name text NOT NULL,
            starts_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL,
            status text NOT NULL DEFAULT 'confirmed' CHECK (status IN ('confirmed', 'cancelled')),
            customer_name text,
            customer_phone text,
            token_hash bytea NOT NULL,
            test_run text,
            created_at timestamptz NOT NULL DEFAULT now(),
            cancelled_at timestamptz,
            CONSTRAINT bookings_period CHECK (ends_at > starts_at),
            CONSTRAINT bookings_no_double_booking EXCLUDE USING gist (
                staff_range(staff_id, staff_id, '[]') WITH &&,
                tstzrange(starts_at, ends_at, '[)') WITH &&
            ) WHERE (status = 'confirmed')
        )
        """
    )
    op.execute("CREATE INDEX bookings_by_start ON bookings (starts_at) WHERE status = 'confirmed'")
    op.execute("CREATE INDEX bookings_by_test_run ON bookings (test_run) WHERE test_run IS NOT NULL")


def _idempotency_keys() -> None:
    op.execute(
        """
        CREATE TABLE idempotency_keys (
            key_hash bytea PRIMARY KEY,
            request_hash bytea NOT NULL,
            status smallint,
            -- json, not jsonb: a repeated request gets the same bytes, order of the fields included
            answer json,
            sealed_token bytea,
            booking_id uuid REFERENCES bookings (id) ON DELETE CASCADE,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)")
    op.execute("CREATE INDEX idempotency_keys_by_booking ON idempotency_keys (booking_id)")


def downgrade() -> None:
    """Not offered: a rollback runs the older image on the newer schema, and never deletes rows."""
    raise NotImplementedError("migrations only go forward")
