"""The page that customers book on: rendered here, enlivened by static/app.js, coloured by the settings."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from barberpro_booking.business import WEEKDAYS, Business, Interval
from barberpro_booking.service import Booking
from barberpro_service.config import Environment
from barberpro_service.errors import Problem

HERE = Path(__file__).parent
DAYS_SHOWN = 21
DAY_NAMES = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")
MONTH_NAMES = ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic")
SYMBOLS = {"ARS": "$", "UYU": "$U", "USD": "US$", "EUR": "€", "BRL": "R$", "CLP": "$"}


def money(amount: Decimal, currency: str) -> str:
    """9500 -> "$ 9.500", 9500.5 -> "$ 9.500,50", as it is written in Argentina."""
    text = f"{amount:,.2f}".translate(str.maketrans(",.", ".,")).removesuffix(",00")
    return f"{SYMBOLS.get(currency, currency)} {text}"


def length(minutes: int) -> str:
    """30 -> "30 min", 90 -> "1 h 30 min"."""
    hours, rest = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb" as WCAG 2 defines it (0 black, 1 white)."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (1 to 21); text needs 4.5."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable_on(color: str) -> str:
    """White or near-black, whichever reads better on a background."""
    return max("#ffffff", "#1c1614", key=lambda text: contrast(text, color))


def readable_as_text(color: str, background: str = "#ffffff") -> str:
    """The colour itself, or a darker shade of it that can be read on the light page."""
    for step in range(11):
        shade = "#" + "".join(f"{int(int(color[at : at + 2], 16) * (1 - step / 10)):02x}" for at in (1, 3, 5))
        if contrast(shade, background) >= 4.5:
            return shade
    return "#000000"


def theme(business: Business) -> str:
    """The style sheet that carries the branding; the settings' patterns allow nothing but colours here."""
    brand, accent = business.branding.primary_color, business.branding.accent_color
    return (
        f":root {{ --brand: {brand}; --on-brand: {readable_on(brand)}; --brand-text: {readable_as_text(brand)}; "
        f"--accent: {accent}; --on-accent: {readable_on(accent)}; }}\n"
    )


def hours_text(intervals: list[Interval]) -> str:
    """"09:00 a 13:00 y 16:00 a 20:00", or "Cerrado"."""
    return " y ".join(f"{item.start} a {item.end}" for item in sorted(intervals, key=lambda item: item.start)) or "Cerrado"


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
        html = templates.get_template("index.html").render(
            business=business,
            days=_days(business, now),
            week=week,
            today=now.astimezone(business.zone).weekday(),
            money=lambda amount: money(amount, business.currency),
            revision=environment.revision,
        )
        return HTMLResponse(html)

    @app.get("/theme.css", include_in_schema=False)
    async def theme_css(request: Request) -> Response:
        try:
            text = theme(await booking.business())
        except Problem:
            text = ""
        headers = {"ETag": f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type="text/css", headers=headers)

    app.mount("/static", Static(directory=HERE / "static"), name="static")


class Static(StaticFiles):
    """Static files that browsers ask about each time: during a deployment two revisions answer below one address."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As Starlette's, with `Cache-Control: no-cache` (revalidate by ETag)."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
