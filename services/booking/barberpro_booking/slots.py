"""When can a service be booked? Pure functions of settings, existing bookings and now; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from barberpro_booking.business import Business, Service
from barberpro_service import hours
from barberpro_service.hours import Period

# Starts are offered on this grid, counted from when the shop opens, so that no unusable gaps arise.
GRID = timedelta(minutes=15)
HORIZON_DAYS = 90


@dataclass(frozen=True)
class Slot:
    """A start (aware, UTC) with somebody who is free for the whole service."""

    start: datetime
    staff: str


def opening_periods(business: Business, day: date) -> list[Period]:
    """The periods in which the shop is open on a local day."""
    return hours.opening_periods(business.zone, day, business.intervals(hours.WEEKDAYS[day.weekday()]))


def starts(business: Business, service: Service, day: date) -> list[datetime]:
    """All starts of a service on a local day, free or not. Steps are elapsed time, so clock changes cannot bend them."""
    length = timedelta(minutes=service.duration_minutes)
    found: list[datetime] = []
    for opens, closes in opening_periods(business, day):
        start = opens
        while start + length <= closes:
            found.append(start)
            start += GRID
    return found


def moved(starts: Iterable[datetime], old: ZoneInfo, new: ZoneInfo) -> list[datetime]:
    """Those of the starts that a clock on the wall would show otherwise in the new time zone; zones with one offset move nothing."""
    return [start for start in starts if start.astimezone(old).replace(tzinfo=None) != start.astimezone(new).replace(tzinfo=None)]


def is_free(periods: Iterable[Period], start: datetime, end: datetime) -> bool:
    """Does no period overlap [start, end)?"""
    return all(end <= busy_start or busy_end <= start for busy_start, busy_end in periods)


def available(
    business: Business,
    service: Service,
    day: date,
    now: datetime,
    busy: Mapping[str, Sequence[Period]],
    staff: str | None = None,
) -> list[Slot]:
    """Free slots of a local day by start, then in the order of the staff list.

    `busy` holds the confirmed bookings by staff id; `staff` restricts to one member. Past starts and days beyond the
    horizon are left out.
    """
    if day > now.astimezone(business.zone).date() + timedelta(days=HORIZON_DAYS):
        return []
    length = timedelta(minutes=service.duration_minutes)
    members = [member.id for member in business.offering(service.id) if staff in (None, member.id)]
    return [
        Slot(start, member)
        for start in starts(business, service, day)
        if start > now
        for member in members
        if is_free(busy.get(member, ()), start, start + length)
    ]


def refusal(business: Business, service: Service, start: datetime, now: datetime) -> tuple[str, str] | None:
    """Why a start cannot be booked whoever is free, as (code, sentence in Spanish); None when it can."""
    local = start.astimezone(business.zone)
    if start <= now:
        return "in_the_past", f"El turno del {local:%d/%m/%Y a las %H:%M} ya pasó; elegí uno futuro."
    if local.date() > now.astimezone(business.zone).date() + timedelta(days=HORIZON_DAYS):
        return "too_far_ahead", f"Solo se puede reservar con hasta {HORIZON_DAYS} días de anticipación."
    length = timedelta(minutes=service.duration_minutes)
    periods = opening_periods(business, local.date())
    if not any(opens <= start and start + length <= closes for opens, closes in periods):
        return "outside_hours", (
            f"{service.name} ({service.duration_minutes} min) el {local:%d/%m/%Y a las %H:%M} queda fuera del horario de atención."
        )
    if start not in starts(business, service, local.date()):
        return "not_a_slot", f"Los turnos empiezan cada {GRID.seconds // 60} minutos; las {local:%H:%M} no es un inicio posible."
    return None
