"""Money, lengths, colours and the sentence about opening."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barberpro_booking import business
from barberpro_booking.page import hours_text, open_now
from barberpro_service import web
from tests.unit.services.factory import document


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [("9500", "ARS", "$ 9.500"), ("9500.5", "ARS", "$ 9.500,50"), ("1234567", "USD", "US$ 1.234.567"), ("0", "PYG", "PYG 0")],
)
def test_money_is_written_as_in_argentina(amount, currency, text):
    assert web.money(Decimal(amount), currency) == text


@pytest.mark.parametrize(("minutes", "text"), [(30, "30 min"), (60, "1 h"), (95, "1 h 35 min"), (0, "0 min")])
def test_lengths(minutes, text):
    assert web.length(minutes) == text


@given(st.integers(0, 0xFFFFFF))
def test_text_can_be_read_on_any_brand_colour(number):
    color = f"#{number:06x}"
    assert web.contrast(web.readable_on(color), color) >= 4.2
    assert web.contrast(web.readable_as_text(color, "#f7f4ef"), "#f7f4ef") >= 4.5


def test_known_contrasts():
    assert round(web.contrast("#000000", "#ffffff"), 1) == 21.0
    assert web.readable_on("#ffee00") == "#1c1614"
    assert "--brand: #7a1f1f;" in web.theme("#7a1f1f", "#d9a441")


@pytest.mark.parametrize(
    ("now", "is_open", "text"),
    [
        ("2027-03-01T08:00", False, "Cerrado ahora, abrimos hoy a las 09:00"),
        ("2027-03-01T10:00", True, "Abierto ahora, hasta las 13:00"),
        ("2027-03-01T13:00", False, "Cerrado ahora, abrimos hoy a las 15:00"),
        ("2027-03-01T20:30", False, "Cerrado ahora, abrimos mañana a las 09:00"),
        ("2027-03-06T19:00", False, "Cerrado ahora, abrimos el lunes a las 09:00"),
    ],
)
def test_the_page_says_when_the_shop_is_open(now, is_open, text):
    shop = business.validate(document())
    assert open_now(shop, datetime.fromisoformat(now).replace(tzinfo=shop.zone)) == (is_open, text)


def test_a_shop_that_never_opens():
    shop = business.validate(document(opening_hours={}))
    assert open_now(shop, datetime.fromisoformat("2027-03-01T10:00").replace(tzinfo=shop.zone)) == (False, "Cerrado por el momento")
    assert hours_text([]) == "Cerrado"
