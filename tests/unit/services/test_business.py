"""Settings documents: what is accepted, and that every bad field is named."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from barberpro_booking import business, rules, slots
from tests.unit.services.factory import document


def errors_of(value: object) -> dict[str, str]:
    with pytest.raises(business.SettingsError) as caught:
        business.validate(value)
    return {item["path"]: item["message"] for item in caught.value.errors}


def test_a_complete_document_is_accepted():
    accepted = business.validate(document())
    assert accepted.service("corte").duration_minutes == 30
    assert [member.id for member in accepted.offering("corte")] == ["juan", "sofia"]
    assert accepted.member("nobody") is None
    assert accepted.service("nothing") is None
    assert accepted.intervals("sunday") == []


def test_every_bad_field_is_listed_with_its_path():
    bad = document(
        name="",
        locale="spanish",
        currency="pesos",
        timezone="Buenos Aires",
        branding={"primary_color": "red; } body { display: none", "accent_color": "#fff"},
        opening_hours={"funday": [], "monday": [{"from": "13:00", "to": "09:00"}], "tuesday": [{"from": "9", "to": "25:00"}]},
        services=[{"id": "Corte", "name": "Corte", "duration_minutes": 7, "price": -1}],
        staff=[{"id": "juan", "name": "Juan", "services": []}],
        chairs=0,
        surprise=True,
    )
    assert set(errors_of(bad)) == {
        "name", "locale", "currency", "timezone", "branding.primary_color", "branding.accent_color", "opening_hours.funday",
        "opening_hours.monday[0]", "opening_hours.tuesday[0].from", "opening_hours.tuesday[0].to", "services[0].id",
        "services[0].duration_minutes", "services[0].price", "staff[0].services", "chairs", "surprise",
    }


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone", "'Mars/Olympus' is not a time zone of the IANA database, for example America/Argentina/Buenos_Aires"),
        (
            {"opening_hours": {"monday": [{"from": "09:00", "to": "09:00"}]}},
            "opening_hours.monday[0]",
            "from 09:00 must be before to 09:00 of the same day",
        ),
        (
            {"opening_hours": {"monday": [{"from": "20:00", "to": "00:00"}]}},
            "opening_hours.monday[0]",
            "from 20:00 must be before to 00:00 of the same day; the end of the day is 24:00",
        ),
        (
            {"opening_hours": {"monday": [{"from": "22:00", "to": "02:00"}]}},
            "opening_hours.monday[0]",
            "from 22:00 must be before to 02:00 of the same day; for hours past midnight close at 24:00 here and open from 00:00 to 02:00 on the next day",
        ),
        (
            {"opening_hours": {"friday": [{"from": "12:00", "to": "20:00"}, {"from": "09:00", "to": "13:00"}]}},
            "opening_hours",
            "friday: 09:00-13:00 and 12:00-20:00 overlap",
        ),
        (
            {"staff": [{"id": "juan", "name": "Juan", "services": ["tattoo"]}]},
            "staff[0].services[0]",
            "'tattoo' is not the id of a service; known are barba, corte",
        ),
        ({"chairs": "3"}, "chairs", "Input should be a valid integer"),
    ],
)
def test_messages_say_value_and_rule(change, path, message):
    assert errors_of(document(**change)) == {path: message}


def test_ids_must_be_unique():
    twice = document()
    twice["services"].append(twice["services"][0])
    twice["staff"].append(twice["staff"][0])
    assert errors_of(twice) == {
        "services[2].id": "'corte' is used twice; ids must be unique",
        "staff[2].id": "'juan' is used twice; ids must be unique",
    }


@pytest.mark.parametrize("price", ["9500", True, None, -1, 1.005, float("nan")])
def test_prices_are_plain_numbers(price):
    bad = document()
    bad["services"][0]["price"] = price
    assert list(errors_of(bad)) == ["services[0].price"]


@pytest.mark.parametrize("value", [None, [], "text", 3, {"staff": 3, "services": {"id": 1}}, {"staff": [None], "services": ["corte"]}])
def test_anything_that_is_no_document_is_refused(value):
    assert errors_of(value)


@pytest.mark.parametrize("name", ["x" * 81, " Barbería", "Barbería ", "Bar\x00bería", "Bar\nbería"])
def test_names_without_control_characters_or_outer_blanks(name):
    assert list(errors_of(document(name=name))) == ["name"]


def test_stored_documents_of_a_newer_revision_can_be_read():
    newer = document(loyalty={"points": 10})
    newer["services"][0]["color"] = "blue"
    assert business.load(newer).name == "Barbería Palermo"
    assert set(errors_of(newer)) == {"loyalty", "services[0].color"}


def test_what_an_older_revision_stored_under_wider_bounds_is_read_and_only_sending_it_is_refused():
    older = document(name="x" * 100, locale="es_AR", currency="pesos", chairs=150)
    older["opening_hours"]["holiday"] = [{"from": "10:00", "to": "12:00"}]
    older["services"][0] |= {"id": "Corte clásico", "duration_minutes": 7, "price": 1.005}
    older["staff"] = [{"id": "J" * 50, "name": " Juan", "services": ["Corte clásico"]} for _member in range(201)]
    older["branding"]["tagline"] = "x" * 200
    read = business.load(older)
    assert (read.chairs, read.service("Corte clásico").duration_minutes, len(read.staff)) == (150, 7, 201)
    assert read.intervals("monday") == [("09:00", "13:00"), ("15:00", "20:00")]
    refused = errors_of(older)
    assert {"name", "locale", "currency", "chairs", "opening_hours.holiday", "services[0].id", "branding.tagline"} < set(refused)


def test_rules_and_reading_know_the_same_fields():
    for model in ("Business", "Branding", "Interval", "Service", "Staff"):
        assert set(getattr(business, model).model_fields) == set(getattr(rules, model).model_fields)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": None}, "name: Input should be a valid string"),
        ({"timezone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is not in this image's database of time zones; set one that is, for example"),
        # Neither may come into a style sheet, or be computed with.
        ({"branding": {"primary_color": "red; } body { display: none", "accent_color": "#d9a441"}}, "branding.primary_color: String should match"),
        ({"opening_hours": {"monday": [{"from": "9", "to": "25:00"}]}}, r"opening_hours.monday\[0\].from: String should match"),
        ({"services": [{"id": "x", "name": "X", "duration_minutes": 0, "price": 1}]}, r"services\[0\].duration_minutes: Input should be greater"),
    ],
)
def test_a_stored_document_that_nobody_can_work_with_is_told(change, sentence):
    with pytest.raises(business.SettingsError, match=sentence):
        business.load(document(**change))


def test_an_unusable_stored_document_is_told():
    with pytest.raises(business.SettingsError, match="name: Field required"):
        business.load({})


def test_midnight_is_the_end_of_a_day():
    assert business.validate(document(opening_hours={"monday": [{"from": "00:00", "to": "24:00"}]}))


def test_hours_past_midnight_are_those_of_two_days():
    shop = business.validate(document(opening_hours={"friday": [{"from": "22:00", "to": "24:00"}], "saturday": [{"from": "00:00", "to": "02:00"}]}))
    friday = date(2027, 3, 5)
    for day, first, last in ((friday, "22:00", "23:30"), (friday + timedelta(days=1), "00:00", "01:30")):
        found = [start.astimezone(shop.zone) for start in slots.starts(shop, shop.service("corte"), day)]
        assert (found[0].date(), f"{found[0]:%H:%M}", f"{found[-1]:%H:%M}") == (day, first, last)
