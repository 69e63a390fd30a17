"""The pages of the queue: customers take a number, the staff calls it."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined

from barberpro_service.web import Static, length, style_sheet, theme
from barberpro_walkin.service import Walkin
from barberpro_walkin.upstream import Branding

HERE = Path(__file__).parent


def page_routes(app: FastAPI, walkin: Walkin) -> None:
    """Add /walkin, /walkin/staff, /walkin/theme.css and /walkin/static to the public application."""
    templates = Templates(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    templates.filters["length_text"] = length

    async def show(template: str) -> HTMLResponse:
        upstream = await walkin.booking.now(walkin.clock())
        return HTMLResponse(templates.get_template(template).render(business=upstream.business))

    @app.get("/walkin", include_in_schema=False)
    async def page() -> HTMLResponse:
        return await show("queue.html")

    @app.get("/walkin/staff", include_in_schema=False)
    async def staff() -> HTMLResponse:
        return await show("staff.html")

    @app.get("/walkin/theme.css", include_in_schema=False)
    async def theme_css(request: Request) -> Response:
        business = (await walkin.booking.now(walkin.clock())).business
        branding = business.branding if business else Branding()
        return style_sheet(request, theme(branding.primary_color, branding.accent_color))

    app.mount("/walkin/static", Static(HERE / "static"), name="static")
