"""What clients send."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Reference = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
CustomerName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
IdempotencyKey = Annotated[str, Field(min_length=8, max_length=200, pattern=r"^[\x21-\x7e]+$")]
TestRun = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


class TicketRequest(BaseModel):
    """A walk-in customer; the name is optional, the number is enough to be called by."""

    model_config = ConfigDict(extra="forbid")

    service: Reference
    name: Annotated[CustomerName | None, BeforeValidator(_blank_is_none)] = None
