"""The business's settings document, as the service goes by it; module `rules` says what is accepted.

The stored document is the one that was sent, so that reading it back compares equal. Sending is strict. Reading takes what was stored, by an
older revision under wider bounds or by a newer one with more fields, as long as this one can work with it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from barberpro_booking.rules import FORGET_AFTER_DAYS, Clock, Color, broken
from barberpro_service.errors import field_errors
from barberpro_service.hours import Weekday


class SettingsError(Exception):
    """The document is refused; `errors` lists every bad field as {"path", "message"}."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{item['path']}: {item['message']}" for item in errors))
        self.errors = errors


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Branding(_Stored):
    """Colours and the line below the name."""

    primary_color: Color
    accent_color: Color
    tagline: str = ""


class Interval(_Stored):
    """Open from one wall-clock time to another of the same day."""

    start: Annotated[Clock, Field(alias="from")]
    end: Annotated[Clock, Field(alias="to")]


class Service(_Stored):
    """Something that a customer can book."""

    id: str
    name: str
    duration_minutes: Annotated[int, Field(gt=0)]
    price: Decimal


class Staff(_Stored):
    """Somebody who offers services."""

    id: str
    name: str
    services: list[str]


class Business(_Stored):
    """The whole document."""

    name: str
    locale: str
    currency: str
    timezone: str
    branding: Branding
    # Whatever keys it has: one that is no weekday opens nothing.
    opening_hours: dict[str, list[Interval]]
    staff: list[Staff]
    services: list[Service]
    chairs: Annotated[int, Field(gt=0)]
    forget_customers_after_days: Annotated[int, Field(gt=0)] = FORGET_AFTER_DAYS

    @field_validator("timezone")
    @classmethod
    def _found(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            example = "America/Argentina/Buenos_Aires"
            raise ValueError(f"{value!r} is not in this image's database of time zones; set one that is, for example {example}") from error
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


def validate(document: Any) -> Business:
    """Check a document that somebody sent.

    Raises SettingsError with every bad field, those that span several fields included.
    """
    if errors := broken(document):
        raise SettingsError(errors)
    return load(document)


def load(document: Any) -> Business:
    """Read a stored document; bounds and fields that this revision does not know are not its business.

    Raises SettingsError when it cannot be used.
    """
    try:
        return Business.model_validate(document)
    except ValidationError as error:
        raise SettingsError(field_errors(error.errors())) from error
