"""The business's settings document: what is accepted, with every bad field named.

The stored document is the one that was sent, so that reading it back compares equal. Reading is tolerant of fields
that a newer revision added; sending is strict.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from barberpro_service.errors import field_errors
from barberpro_service.hours import Weekday, minutes

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
# No control characters (PostgreSQL cannot store NUL in JSON), no blanks at either end.
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$")]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
# 24:00 is the end of the day; a shop may be open until midnight.
Clock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


class SettingsError(Exception):
    """The document is refused; `errors` lists every bad field as {"path", "message"}."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{item['path']}: {item['message']}" for item in errors))
        self.errors = errors


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _number(value: Any) -> Any:
    """A price is a number in the document; text that looks like one is a mistake in the inventory."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number, not text or a truth value")
    return value


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
            raise ValueError(f"from {self.start} must be before to {self.end}")
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

    @property
    def zone(self) -> ZoneInfo:
        """The business's time zone."""
        return ZoneInfo(self.timezone)

    def intervals(self, weekday: Weekday) -> list[tuple[str, str]]:
        """The opening hours of a weekday; a missing one is closed."""
        return [(interval.start, interval.end) for interval in self.opening_hours.get(weekday, [])]

    def service(self, identifier: str) -> Service | None:
        """The service with this id."""
        return next((service for service in self.services if service.id == identifier), None)

    def member(self, identifier: str) -> Staff | None:
        """The member of staff with this id."""
        return next((member for member in self.staff if member.id == identifier), None)

    def offering(self, service: str) -> list[Staff]:
        """Who offers the service, in the document's order."""
        return [member for member in self.staff if service in member.services]


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


def validate(document: Any) -> Business:
    """Check a document that somebody sent.

    Raises SettingsError with every bad field, those that span several fields included.
    """
    errors: list[dict[str, str]] = []
    business: Business | None = None
    try:
        business = Business.model_validate(document)
    except ValidationError as error:
        errors = field_errors(error.errors())
        # Say "from" and "to" as the document does.
        errors = [{**item, "path": re.sub(r"\.\[key\]$", "", item["path"])} for item in errors]
    errors += _cross_errors(document)
    if errors or business is None:
        raise SettingsError(errors)
    return business


def load(document: Any) -> Business:
    """Read a stored document; fields that this revision does not know are ignored.

    Raises SettingsError when it cannot be used.
    """
    try:
        return Business.model_validate(document, extra="ignore")
    except ValidationError as error:
        raise SettingsError(field_errors(error.errors())) from error
