"""The page that customers book on: rendered here, enlivened by static/app.js, coloured by the settings."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined

from barberpro_booking.business import Business, Interval
from barberpro_booking.service import Booking
from barberpro_booking.slots import opening_periods
from barberpro_service.config import Environment
from barberpro_service.errors import Problem
from barberpro_service.hours import WEEKDAYS
from barberpro_service.web import Static, length, money, style_sheet, theme

HERE = Path(__file__).parent
DAYS_SHOWN = 21
DAY_NAMES = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")
MONTH_NAMES = ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic")


def hours_text(intervals: list[Interval]) -> str:
    """"09:00 a 13:00 y 16:00 a 20:00", or "Cerrado"."""
    return " y ".join(f"{item.start} a {item.end}" for item in sorted(intervals, key=lambda item: item.start)) or "Cerrado"


def open_now(business: Business, now: datetime) -> tuple[bool, str]:
    """Is the shop open, and what a customer wants to know about it: until when, or when next (within a week)."""
    today = now.astimezone(business.zone).date()
    for offset in range(8):
        day = today + timedelta(days=offset)
        for opens, closes in opening_periods(business, day):
            if opens <= now < closes:
                return True, f"Abierto ahora, hasta las {closes.astimezone(business.zone):%H:%M}"
            if now < opens:
                when = {0: "hoy", 1: "mañana"}.get(offset, f"el {DAY_NAMES[day.weekday()]}")
                return False, f"Cerrado ahora, abrimos {when} a las {opens.astimezone(business.zone):%H:%M}"
    return False, "Cerrado por el momento"


def _days(business: Business, now: datetime) -> list[dict[str, Any]]:
    """The days to choose from, today first; closed ones are shown but cannot be chosen."""
    today = now.astimezone(business.zone).date()
    days = []
    for offset in range(DAYS_SHOWN):
        day = today + timedelta(days=offset)
        name = {0: "hoy", 1: "mañana"}.get(offset, DAY_NAMES[day.weekday()])
        days.append(
            {
                "date": day.isoformat(),
                "name": name,
                "short": name if offset < 2 else name[:3],
                "number": day.day,
                "month": MONTH_NAMES[day.month - 1],
                "open": bool(business.opening_hours.get(WEEKDAYS[day.weekday()])),
            }
        )
    return days


def _theme(business: Business) -> str:
    return theme(business.branding.primary_color, business.branding.accent_color)


def page_routes(app: FastAPI, booking: Booking, environment: Environment) -> None:
    """Add `/`, `/theme.css` and `/static` to the public application."""
    templates = Templates(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    templates.filters["length_text"] = length

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        try:
            business = await booking.business()
        except Problem as problem:
            html = templates.get_template("unavailable.html").render(detail=problem.detail)
            return HTMLResponse(html, status_code=problem.status, headers={"Retry-After": "15"})
        week = [
            {"name": DAY_NAMES[at], "hours": hours_text(business.opening_hours.get(day, []))} for at, day in enumerate(WEEKDAYS)
        ]
        now = booking.clock()
        is_open, open_text = open_now(business, now)
        html = templates.get_template("index.html").render(
            business=business,
            days=_days(business, now),
            week=week,
            is_open=is_open,
            open_text=open_text,
            today=now.astimezone(business.zone).weekday(),
            money=lambda amount: money(amount, business.currency),
            revision=environment.revision,
        )
        return HTMLResponse(html)

    @app.get("/theme.css", include_in_schema=False)
    async def theme_css(request: Request) -> Response:
        try:
            text = _theme(await booking.business())
        except Problem:
            text = ""
        return style_sheet(request, text)

    app.mount("/static", Static(HERE / "static"), name="static")
