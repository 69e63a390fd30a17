"""What the services' pages share: files that revalidate, branding as a style sheet, money and lengths as people write them."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

SHARED = Path(__file__).parent / "static"
SYMBOLS = {"ARS": "$", "UYU": "$U", "USD": "US$", "EUR": "€", "BRL": "R$", "CLP": "$"}


class Static(StaticFiles):
    """A service's static files and the shared ones; browsers ask each time, for two revisions answer during a deployment."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        self.all_directories.append(SHARED)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As Starlette's, with `Cache-Control: no-cache` (revalidate by ETag)."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def style_sheet(request: Request, text: str) -> Response:
    """Answer a generated style sheet, or 304 when the browser has it."""
    headers = {"ETag": f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"', "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="text/css", headers=headers)


def money(amount: Decimal, currency: str) -> str:
    """9500 -> "$ 9.500", 9500.5 -> "$ 9.500,50", as it is written in Argentina."""
    text = f"{amount:,.2f}".translate(str.maketrans(",.", ".,")).removesuffix(",00")
    return f"{SYMBOLS.get(currency, currency)} {text}"


def length(minutes: int) -> str:
    """30 -> "30 min", 90 -> "1 h 30 min"."""
    hours, rest = divmod(minutes, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "") if part)


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
    """The colour itself, or the lightest darker shade of it that can be read on the background."""
    for step in range(11):
        shade = "#" + "".join(f"{int(int(color[at : at + 2], 16) * (1 - step / 10)):02x}" for at in (1, 3, 5))
        if contrast(shade, background) >= 4.5:
            return shade
    return "#000000"


def theme(brand: str, accent: str) -> str:
    """The style sheet that carries the branding (two "#rrggbb" colours) with texts that stay readable on it."""
    return (
        f":root {{ --brand: {brand}; --on-brand: {readable_on(brand)}; --brand-text: {readable_as_text(brand, '#f7f4ef')}; "
        f"--accent: {accent}; --on-accent: {readable_on(accent)}; }}\n"
    )
