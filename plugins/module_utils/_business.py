# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the booking service demands of a business's settings, told before anything is made. Pure.

The service's own model is the authority; a test gives both the same documents and holds them together.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MOST = 200  # members of staff, and services
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")

# A rule takes a value and its path and gives (path, value, rule) for each thing that is wrong.
Problem = tuple[str, Any, str]
Rule = Callable[[str, Any], Iterator[Problem]]


def problems(business: Any) -> list[str]:
    """Return what is wrong with the settings, a sentence each: field, value, rule."""
    found = [*_BUSINESS("business", business), *_across(business)]
    return [f"{path} is missing: {rule}" if value is _MISSING else f"{path} {value!r} {rule}" for path, value, rule in found]


_MISSING = object()


def _text(pattern: str, rule: str, most: int | None = None) -> Rule:
    def judge(path: str, value: Any) -> Iterator[Problem]:
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or (most is not None and len(value) > most):
            yield path, value, rule

    return judge


def _whole(least: int, most: int, step: int = 1) -> Rule:
    rule = f"is no whole number from {least} to {most}" + (f" in steps of {step}" if step > 1 else "")

    def judge(path: str, value: Any) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most or value % step:
            yield path, value, rule

    return judge


def _price(path: str, value: Any) -> Iterator[Problem]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield path, value, "is no number: give it without quotes"
        return
    amount = Decimal(str(value))
    if not amount.is_finite() or amount < 0 or amount >= 10**10 or amount != round(amount, 2):
        yield path, value, "is no price: use a number from 0 to 9999999999.99 with at most two decimals"


def _zone(path: str, value: Any) -> Iterator[Problem]:
    # A runner without the database leaves the judgement to the service.
    if not isinstance(value, str) or (not _is_zone(value) and _is_zone("UTC")):
        yield path, value, "is no time zone of the IANA database: use for example America/Argentina/Buenos_Aires"


def _is_zone(name: str) -> bool:
    """Return whether it is a zone of the runner's database; to list them all takes a tenth of a second, each time."""
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return not name.startswith(("posix/", "right/")) and name != "posixrules"


def _interval(path: str, value: Any) -> Iterator[Problem]:
    yield from _INTERVAL(path, value)
    begins, ends = (str(value.get(key)) if isinstance(value, Mapping) else "" for key in ("from", "to"))
    if _CLOCK.fullmatch(begins) and _CLOCK.fullmatch(ends) and begins >= ends:
        past = f"; for hours past midnight close at 24:00 here and open from 00:00 to {ends} on the next day" if ends < begins else ""
        past = "; the end of the day is 24:00" if ends == "00:00" else past
        yield path, value, f"ends before it begins: from {begins} must be before to {ends} of the same day{past}"


def _hours(path: str, value: Any) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield path, value, "is no mapping of weekdays to lists of {from: '09:00', to: '18:00'}"
        return
    wrong = []
    for day, intervals in value.items():
        if day not in WEEKDAYS:
            wrong.append((f"{path}.{day}", intervals, f"is of no weekday: choose among {', '.join(WEEKDAYS)}"))
        else:
            wrong += _listed(_interval, 0)(f"{path}.{day}", intervals)
    yield from wrong
    if not wrong:
        for day, intervals in value.items():
            for before, after in pairwise(sorted(intervals, key=lambda interval: str(interval["from"]))):
                if after["from"] < before["to"]:
                    spans = [f"{one['from']}-{one['to']}" for one in (before, after)]
                    yield path, day, f"has hours that overlap: {' and '.join(spans)}"


def _listed(rule: Rule, least: int, most: int | None = None) -> Rule:
    size = f"has {{}} entries: give {least}" + (f" to {most}" if most else " or more")

    def judge(path: str, value: Any) -> Iterator[Problem]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            yield path, value, "is no list"
            return
        if len(value) < least or (most is not None and len(value) > most):
            yield path, "list", size.format(len(value))
        for at, item in enumerate(value):
            yield from rule(f"{path}[{at}]", item)

    return judge


def _mapping(needed: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    rules = {**needed, **(optional or {})}

    def judge(path: str, value: Any) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield path, value, f"is no mapping of {', '.join(rules)}"
            return
        for key in (key for key in value if key not in rules):
            yield f"{path}.{key}", value[key], f"is no setting: choose among {', '.join(rules)}"
        for key, rule in rules.items():
            if key in value:
                yield from rule(f"{path}.{key}", value[key])
            elif key in needed:
                yield f"{path}.{key}", _MISSING, "the booking service needs it"

    return judge


def _across(business: Any) -> Iterator[Problem]:
    """Ids that are used twice, and services that nobody defined. Leaves malformed parts to the other rules."""

    def items(kind: str) -> list[tuple[int, Mapping[str, Any]]]:
        value = business.get(kind) if isinstance(business, Mapping) else None
        return [(at, item) for at, item in enumerate(value if isinstance(value, list) else []) if isinstance(item, Mapping)]

    for kind in ("services", "staff"):
        seen: set[str] = set()
        for at, item in items(kind):
            if str(item.get("id")) in seen:
                yield f"business.{kind}[{at}].id", item.get("id"), "is used twice: ids must be unique"
            seen.add(str(item.get("id")))
    known = {str(item.get("id")) for _at, item in items("services")}
    for at, item in items("staff"):
        offered = item.get("services")
        for position, service in enumerate(offered if isinstance(offered, list) else []):
            if str(service) not in known:
                rule = f"is not the id of a service: known are {', '.join(sorted(known)) or 'none'}"
                yield f"business.staff[{at}].services[{position}]", service, rule


_ID = _text(r"[a-z0-9][a-z0-9_-]{0,39}", "is no id: use at most 40 small letters, digits, hyphens and underscores, beginning with a letter or digit")
_NAME = _text(
    r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?", "is no name: use 1 to 80 characters of one line, without blanks at either end", 80
)
_COLOR = _text(r"#[0-9a-fA-F]{6}", "is no colour: use # and six hexadecimal digits, in quotes")
_TIME = _text(_CLOCK.pattern, "is no time: use HH:MM from 00:00 to 24:00, in quotes")
_INTERVAL = _mapping({"from": _TIME, "to": _TIME})
_BRANDING = _mapping(
    {"primary_color": _COLOR, "accent_color": _COLOR},
    {"tagline": _text(r"[^\x00-\x1f\x7f]*", "is no tagline: use at most 160 characters of one line", 160)},
)
_SERVICE = _mapping({"id": _ID, "name": _NAME, "duration_minutes": _whole(5, 480, 5), "price": _price})
_STAFF = _mapping({"id": _ID, "name": _NAME, "services": _listed(_ID, 1)})
_BUSINESS = _mapping(
    {
        "name": _NAME,
        "locale": _text(r"[a-z]{2,3}(-[A-Z]{2})?", "is no locale: use for example es-AR"),
        "currency": _text(r"[A-Z]{3}", "is no currency: use its three capital letters, for example ARS"),
        "timezone": _zone,
        "branding": _BRANDING,
        "opening_hours": _hours,
        "staff": _listed(_STAFF, 1, MOST),
        "services": _listed(_SERVICE, 1, MOST),
        "chairs": _whole(1, 100),
    },
    {"forget_customers_after_days": _whole(1, 365)},
)
