"""What clients send."""

from __future__ import annotations

import re
from datetime import UTC, date
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

# What lies outside cannot be meant, and near the ends of the calendar time zones overflow.
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
Day = Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY)]

# Letters of any alphabet, but no control characters: the name is shown to the shop.
CustomerName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reference = Annotated[str, Field(min_length=1, max_length=40)]
IdempotencyKey = Annotated[str, Field(min_length=8, max_length=200, pattern=r"^[\x21-\x7e]+$")]
TestRun = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


class Customer(BaseModel):
    """No more than the shop needs: how to call the customer, and where."""

    model_config = ConfigDict(extra="forbid")

    name: CustomerName
    phone: Annotated[str, Field(max_length=40)]

    @field_validator("phone")
    @classmethod
    def _phone(cls, value: str) -> str:
        """Keep the digits (and a leading +) of what people type: "+54 9 11 5555-1234", "(011) 5555 1234"."""
        if not re.fullmatch(r"\+?[0-9 ().\-/]+", value.strip()):
            raise ValueError("el teléfono solo puede tener números, espacios, guiones, paréntesis y un + al principio")
        digits = re.sub(r"\D", "", value)
        if not 6 <= len(digits) <= 15:
            raise ValueError("el teléfono tiene que tener entre 6 y 15 números")
        return ("+" if value.strip().startswith("+") else "") + digits


class BookingRequest(BaseModel):
    """A booking; without `staff` anybody who is free."""

    model_config = ConfigDict(extra="forbid")

    service: Reference
    staff: Annotated[Reference | None, BeforeValidator(lambda value: value or None)] = None
    start: AwareDatetime
    customer: Customer

    @field_validator("start")
    @classmethod
    def _instant(cls, value: AwareDatetime) -> AwareDatetime:
        """The same instant in any offset is the same request."""
        if not FIRST_DAY.year <= value.year <= LAST_DAY.year:
            raise ValueError(f"el año tiene que estar entre {FIRST_DAY.year} y {LAST_DAY.year}")
        return value.astimezone(UTC)
