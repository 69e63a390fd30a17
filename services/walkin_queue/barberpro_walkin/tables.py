"""The tables as SQLAlchemy sees them; the migrations are what defines them, constraints included."""

from __future__ import annotations

from sqlalchemy import Column, Date, DateTime, Integer, LargeBinary, MetaData, String, Table, Uuid

from barberpro_service.personal.data_keys import DATA_KEYS

METADATA = MetaData()
DATA_KEYS.to_metadata(METADATA)

DAYS = Table(
    "walkin_days",
    METADATA,
    Column("day", Date, primary_key=True),
    Column("last_number", Integer, nullable=False),
)

TICKETS = Table(
    "walkin_tickets",
    METADATA,
    Column("id", Uuid, primary_key=True),
    Column("day", Date, nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("service_id", String, nullable=False),
    Column("service_name", String, nullable=False),
    Column("duration_minutes", Integer, nullable=False),
    Column("customer_name", String),
    Column("customer_name_sealed", LargeBinary),
    Column("test_run", String),
    Column("key_hash", LargeBinary),
    Column("request_hash", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("called_at", DateTime(timezone=True)),
    Column("served_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
)
# The columns that are a person's, each with one beside it for the same sealed.
PERSONAL = ("customer_name",)
