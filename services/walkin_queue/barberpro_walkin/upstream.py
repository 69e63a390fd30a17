"""What the queue asks of the booking service: the business, and today's booked slots. It may be away; the queue goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from barberpro_service import hours
from barberpro_service.hours import Period
from barberpro_service.logs import logger

LOG = logger(__name__)

TIMEOUT_SECONDS = 1.5
BUSINESS_FRESH_SECONDS = 15.0
BUSY_FRESH_SECONDS = 5.0
# After a failure nobody waits for the next time-out for so long: customers get the degraded answer at once.
PAUSE_SECONDS = 5.0
DEFAULT_ZONE = "America/Argentina/Buenos_Aires"
DEFAULT_MINUTES = 30


class _Tolerant(BaseModel):
    """Fields that this revision does not know are a newer booking service's."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Interval(_Tolerant):
    """Open from one wall-clock time to another."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")


class Branding(_Tolerant):
    """The two colours of the page."""

    primary_color: str = Field("#2b2b2b", pattern=r"^#[0-9a-fA-F]{6}$")
    accent_color: str = Field("#d9a441", pattern=r"^#[0-9a-fA-F]{6}$")


class Service(_Tolerant):
    """What a customer can wait for."""

    id: str
    name: str
    duration_minutes: int = Field(gt=0)


class Staff(_Tolerant):
    """Somebody who attends to customers."""

    id: str


class Business(_Tolerant):
    """The part of the settings that the queue needs."""

    name: str
    timezone: str
    branding: Branding = Branding(primary_color="#2b2b2b", accent_color="#d9a441")
    opening_hours: dict[str, list[Interval]] = {}
    services: list[Service]
    staff: list[Staff] = []
    chairs: int = Field(ge=1)

    @property
    def zone(self) -> ZoneInfo:
        """The business's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def places(self) -> int:
        """How many customers can be attended to at once: a chair without somebody behind it is none."""
        return min(self.chairs, len(self.staff)) if self.staff else self.chairs

    def periods(self, day: date) -> list[Period]:
        """When the shop is open on a local day."""
        intervals = self.opening_hours.get(hours.WEEKDAYS[day.weekday()], [])
        return hours.opening_periods(self.zone, day, [(item.start, item.end) for item in intervals])


class _Busy(_Tolerant):
    start: AwareDatetime
    end: AwareDatetime


class _BusyDay(_Tolerant):
    busy: list[_Busy]


Model = TypeVar("Model", bound=BaseModel)


@dataclass
class Cached(Generic[Model]):
    """The last good answer of one URL, and when to ask again (monotonic seconds)."""

    value: Model | None = None
    key: str = ""
    ask_again: float = 0.0
    failed: bool = False


@dataclass(frozen=True)
class Upstream:
    """What is known now; `business` None before the first good answer, `busy` None when booking does not answer."""

    business: Business | None
    busy: list[Period] | None


@dataclass
class BookingClient:
    """Asks the booking service, remembers, and never makes a customer wait long for it."""

    http: httpx.AsyncClient
    on_failure: Callable[[], None] = lambda: None
    _business: Cached[Business] = field(default_factory=lambda: Cached[Business]())
    _busy: Cached[_BusyDay] = field(default_factory=lambda: Cached[_BusyDay]())

    async def now(self, moment: datetime) -> Upstream:
        """The business and the booked slots of the local day of `moment`."""
        business = await self._get(self._business, Business, "/api/v1/business", {}, BUSINESS_FRESH_SECONDS)
        zone = business.zone if business else ZoneInfo(DEFAULT_ZONE)
        day = moment.astimezone(zone).date().isoformat()
        busy = await self._get(self._busy, _BusyDay, "/api/v1/busy", {"date": day}, BUSY_FRESH_SECONDS)
        # An old business card is better than none; old bookings would be a wrong estimate told as a right one.
        if busy is None or self._busy.failed:
            return Upstream(business, None)
        return Upstream(business, [(item.start.astimezone(UTC), item.end.astimezone(UTC)) for item in busy.busy])

    async def _get(self, cached: Cached[Model], model: type[Model], path: str, query: dict[str, Any], fresh: float) -> Model | None:
        key = str(query)
        if cached.key != key:
            cached.value, cached.key, cached.ask_again = None, key, 0.0
        if time.monotonic() < cached.ask_again:
            return cached.value
        try:
            response = await self.http.get(path, params=query)
            response.raise_for_status()
            cached.value = model.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            if not cached.failed:
                LOG.warning("booking does not answer", path=path, error=type(error).__name__)
            cached.failed, cached.ask_again = True, time.monotonic() + PAUSE_SECONDS
            self.on_failure()
        else:
            cached.failed, cached.ask_again = False, time.monotonic() + fresh
        return cached.value
