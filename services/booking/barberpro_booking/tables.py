"""The tables as SQLAlchemy sees them; the migrations are what defines them, constraints included."""

from __future__ import annotations

from sqlalchemy import JSON, Column, DateTime, LargeBinary, MetaData, Numeric, SmallInteger, String, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from barberpro_service.personal.data_keys import DATA_KEYS

METADATA = MetaData()
DATA_KEYS.to_metadata(METADATA)

BUSINESS_SETTINGS = Table(
    "business_settings",
    METADATA,
    Column("id", SmallInteger, primary_key=True),
    Column("document", JSONB, nullable=False),
    Column("etag", String, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

BOOKINGS = Table(
    "bookings",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("service_id", String, nullable=False),
    Column("service_name", String, nullable=False),
    Column("price", Numeric(12, 2), nullable=False),
    Column("staff_id", String, nullable=False),
    Column("staff_name", String, nullable=False),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("status", String, nullable=False),
    Column("customer_name", String),
    Column("customer_phone", String),
    Column("customer_name_sealed", LargeBinary),
    Column("customer_phone_sealed", LargeBinary),
    Column("token_hash", LargeBinary, nullable=False),
    Column("test_run", String),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("cancelled_at", DateTime(timezone=True)),
)
# The columns that are a person's, each with one beside it for the same sealed.
PERSONAL = ("customer_name", "customer_phone")

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("key_hash", LargeBinary, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("answer", JSON),
    Column("sealed_token", LargeBinary),
    Column("booking_id", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
