"""What a settings document must be like when somebody sends it, with every bad field named.

These rules may become stricter: a document that is stored already is not judged by them (`business.load`), so that a service that served
serves on after an upgrade.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from barberpro_service.errors import field_errors
from barberpro_service.hours import Weekday, minutes

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
# No control characters (PostgreSQL cannot store NUL in JSON), no blanks at either end.
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$")]
# These two are no bounds: colours stand in a style sheet and clocks are computed with, so they hold for what is stored too.
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
# 24:00 is the end of the day; a shop may be open until midnight.
Clock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
# So long after the appointment the shop may want to ring a customer up.
FORGET_AFTER_DAYS = 30


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _number(value: Any) -> Any:
    """A price is a number in the document; text that looks like one is a mistake in the inventory."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number, not text or a truth value")
    return value


def _past_midnight(opens: str, closes: str) -> str:
    """How to write what was probably meant. Days are apart everywhere (slots, the queue's numbers, the page), so such hours are two entries."""
    if closes == "00:00":
        return "; the end of the day is 24:00"
    return f"; for hours past midnight close at 24:00 here and open from 00:00 to {closes} on the next day" if closes < opens else ""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Branding(_Model):
    """Colours and the line below the name."""

    primary_color: Color
    accent_color: Color
    tagline: Annotated[str, Field(max_length=160, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class Interval(_Model):
    """Open from one wall-clock time to another of the same day."""

    start: Annotated[Clock, Field(alias="from")]
    end: Annotated[Clock, Field(alias="to")]

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if minutes(self.start) >= minutes(self.end):
            raise ValueError(f"from {self.start} must be before to {self.end} of the same day{_past_midnight(self.start, self.end)}")
        return self


class Service(_Model):
    """Something that a customer can book."""

    id: Identifier
    name: Name
    duration_minutes: Annotated[int, Field(strict=True, ge=5, le=480, multiple_of=5)]
    price: Annotated[Decimal, BeforeValidator(_number), Field(ge=0, max_digits=12, decimal_places=2)]


class Staff(_Model):
    """Somebody who offers services."""

    id: Identifier
    name: Name
    services: Annotated[list[Identifier], Field(min_length=1)]


class Business(_Model):
    """The whole document."""

    name: Name
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    timezone: str
    branding: Branding
    opening_hours: dict[Weekday, list[Interval]]
    staff: Annotated[list[Staff], Field(min_length=1, max_length=200)]
    services: Annotated[list[Service], Field(min_length=1, max_length=200)]
    chairs: Annotated[int, Field(strict=True, ge=1, le=100)]
    forget_customers_after_days: Annotated[int, Field(strict=True, ge=1, le=365)] = FORGET_AFTER_DAYS

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError(f"{value!r} is not a time zone of the IANA database, for example America/Argentina/Buenos_Aires")
        return value

    @field_validator("opening_hours")
    @classmethod
    def _apart(cls, value: dict[Weekday, list[Interval]]) -> dict[Weekday, list[Interval]]:
        for day, intervals in value.items():
            for before, after in pairwise(sorted(intervals, key=lambda interval: minutes(interval.start))):
                if minutes(after.start) < minutes(before.end):
                    raise ValueError(f"{day}: {before.start}-{before.end} and {after.start}-{after.end} overlap")
        return value


def _cross_errors(document: Any) -> list[dict[str, str]]:
    """What spans several fields, told by path: repeated ids, services nobody defined. Ignores malformed parts."""
    errors: list[dict[str, str]] = []

    def items(kind: str) -> list[tuple[int, dict[str, Any]]]:
        value = document.get(kind) if isinstance(document, dict) else None
        return [(at, item) for at, item in enumerate(value if isinstance(value, list) else []) if isinstance(item, dict)]

    for kind in ("services", "staff"):
        seen: set[str] = set()
        for at, item in items(kind):
            if str(item.get("id")) in seen:
                errors.append({"path": f"{kind}[{at}].id", "message": f"{item.get('id')!r} is used twice; ids must be unique"})
            seen.add(str(item.get("id")))
    known = {str(item.get("id")) for _, item in items("services")}
    for at, item in items("staff"):
        offered = item.get("services")
        for position, service in enumerate(offered if isinstance(offered, list) else []):
            if str(service) not in known:
                message = f"{service!r} is not the id of a service; known are {', '.join(sorted(known)) or 'none'}"
                errors.append({"path": f"staff[{at}].services[{position}]", "message": message})
    return errors


def broken(document: Any) -> list[dict[str, str]]:
    """Every bad field of a document, those that span several fields included, as {"path", "message"}."""
    errors: list[dict[str, str]] = []
    try:
        Business.model_validate(document)
    except ValidationError as error:
        errors = [{**item, "path": re.sub(r"\.\[key\]$", "", item["path"])} for item in field_errors(error.errors())]
    return errors + _cross_errors(document)
