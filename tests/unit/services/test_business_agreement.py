"""The pipeline's rules for a business's settings and the service's: they refuse the same documents, for the same fields."""

from __future__ import annotations

import copy
import re
import zoneinfo
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.business_problems import business_problems

from barberpro_booking import business
from barberpro_walkin import upstream
from tests.unit.services.factory import DOCUMENT, document

REMOVED = object()
FIELDS: list[tuple[str, list[Any], list[Any]]] = [
    ("name", ["B", "x" * 80, "Barbería Núñez"], ["", "x" * 81, " B", "B ", "B\n", "B\x00b", 7, None, REMOVED]),
    ("locale", ["es", "es-AR", "fil-PH"], ["spanish", "es_AR", "ES", "", 1, REMOVED]),
    ("currency", ["ARS"], ["pesos", "ars", "AR", "", "ARS\n", None, REMOVED]),
    ("timezone", ["America/Argentina/Cordoba", "UTC"],
     ["America/Nowhere", "", "America", "america/cordoba", "UTC ", "../UTC", "/UTC", "posix/UTC", "posixrules", "tzdata.zi", "a\x00b", 3, None, REMOVED]),
    ("branding", [{"primary_color": "#7a1f1f", "accent_color": "#FFFFFF"}], ["red", {}, None, [], REMOVED]),
    ("branding.primary_color", ["#000000"], ["red", "#fff", "#00000g", "#000000 ", 0, None, REMOVED]),
    ("branding.tagline", ["", "x" * 160, REMOVED], ["x" * 161, "a\nb", None, 3]),
    ("branding.font", [], ["serif"]),
    ("opening_hours", [{}, {"sunday": []}], [None, [], "always", {"funday": []}, {"Monday": []}, REMOVED]),
    ("opening_hours.monday", [[], [{"from": "00:00", "to": "24:00"}], [{"from": "09:00", "to": "13:00"}, {"from": "13:00", "to": "20:00"}]],
     [None, "closed", {"from": "09:00", "to": "13:00"}, ["09:00-13:00"], [{"from": "13:00", "to": "09:00"}], [{"from": "09:00", "to": "09:00"}],
      [{"from": "12:00", "to": "20:00"}, {"from": "09:00", "to": "13:00"}]]),
    ("opening_hours.monday[0].from", ["08:30"], ["9:00", "24:01", "25:00", "12:60", "20:00", 540, None, "", REMOVED]),
    ("opening_hours.monday[0].until", [], ["13:00"]),
    ("staff", [], [None, [], {}, "juan", [None], ["juan"], REMOVED]),
    ("staff[1]", [], [{"id": "juan", "name": "Juan", "services": ["corte"]}]),
    ("staff[0].id", ["j_1-a", "1"], ["Juan", "", "-a", "x" * 41, "ju an", 3, None, REMOVED]),
    ("staff[0].services", [["corte"]], [[], "corte", ["tattoo"], ["corte", "Corte"], [1], None, REMOVED]),
    ("staff[0].chair", [], [1]),
    ("services", [], [None, [], {}, "corte", [None], ["corte"], REMOVED]),
    ("services[1].id", [], ["corte", "Barba", None, REMOVED]),
    ("services[0].name", ["Corte"], ["", None, REMOVED]),
    ("services[0].duration_minutes", [5, 480], [0, 4, 7, 485, -5, "30", 30.0, True, None, REMOVED]),
    ("services[0].price", [0, 9500, 0.1, 19.99, 1e3, 9999999999, 9999999999.99],
     ["9500", True, None, -1, -0.01, 1.005, float("nan"), float("inf"), 1e10, 10**10, [1], {}, REMOVED]),
    ("services[0].color", [], ["blue"]),
    ("chairs", [1, 100], [0, 101, -1, "3", 2.0, True, None, REMOVED]),
    ("forget_customers_after_days", [1, 365], [0, 366, -1, "30", 30.0, True, None]),
    ("loyalty", [], [{"points": 10}, None]),
]  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the good document with another value at a path."""
    found = document()
    place: Any = found
    *outer, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    for part in outer:
        place = place[part]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)
    return found


def refused_by_service(settings: Any) -> set[str]:
    try:
        business.validate(settings)
    except business.SettingsError as error:
        return {item["path"] for item in error.errors}
    return set()


def refused_by_pipeline(settings: Any) -> set[str]:
    return {found[1] for sentence in business_problems(settings) if (found := re.match(r"business\.?(\S*) ", sentence))}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, good, _bad in FIELDS for value in good])
def test_both_accept(path: str, value: Any) -> None:
    settings = changed(path, value)
    assert business_problems(settings) == []
    accepted = business.validate(settings)
    # What the queue reads of it.
    assert upstream.Business.model_validate(accepted.model_dump(mode="json", by_alias=True)).chairs == accepted.chairs


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, _good, bad in FIELDS for value in bad])
def test_both_refuse_for_the_same_field(path: str, value: Any) -> None:
    settings = changed(path, value)
    assert refused_by_service(settings)
    assert refused_by_pipeline(settings) == refused_by_service(settings)


@pytest.mark.parametrize("settings", [None, [], "text", 3, {}, {"staff": 3, "services": {"id": 1}}, {"staff": [None], "services": ["corte"]}])
def test_both_refuse_what_is_no_document(settings: Any) -> None:
    assert business_problems(settings)
    assert refused_by_service(settings)


def test_there_are_at_most_two_hundred() -> None:
    many = {**copy.deepcopy(DOCUMENT), "services": [{**DOCUMENT["services"][0], "id": f"s{number}"} for number in range(201)]}
    many["staff"] = [{"id": "juan", "name": "Juan", "services": ["s1"]}]
    assert refused_by_pipeline(many) == refused_by_service(many) == {"services"}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("timezone", "America/Nowhere",
         "business.timezone 'America/Nowhere' is no time zone of the IANA database: use for example America/Argentina/Buenos_Aires"),
        ("services[0].price", "9500", "business.services[0].price '9500' is no number: give it without quotes"),
        ("services[0].duration_minutes", 7, "business.services[0].duration_minutes 7 is no whole number from 5 to 480 in steps of 5"),
        ("staff[1].services[0]", "tattoo", "business.staff[1].services[0] 'tattoo' is not the id of a service: known are barba, corte"),
        ("opening_hours.saturday[0].from", 540, "business.opening_hours.saturday[0].from 540 is no time: use HH:MM from 00:00 to 24:00, in quotes"),
        ("opening_hours.monday", [{"from": "20:00", "to": "00:00"}],
         "business.opening_hours.monday[0] {'from': '20:00', 'to': '00:00'} ends before it begins: from 20:00 must be before to 00:00 of the same day; "
         "the end of the day is 24:00"),
        ("opening_hours.monday", [{"from": "22:00", "to": "02:00"}],
         "business.opening_hours.monday[0] {'from': '22:00', 'to': '02:00'} ends before it begins: from 22:00 must be before to 02:00 of the same day; "
         "for hours past midnight close at 24:00 here and open from 00:00 to 02:00 on the next day"),
        ("chairs", REMOVED, "business.chairs is missing: the booking service needs it"),
        ("opening_hours.monday", [{"from": "12:00", "to": "20:00"}, {"from": "09:00", "to": "13:00"}],
         "business.opening_hours 'monday' has hours that overlap: 09:00-13:00 and 12:00-20:00"),
    ],
)  # fmt: skip
def test_sentences_name_field_value_and_rule(path: str, value: Any, sentence: str) -> None:
    assert business_problems(changed(path, value)) == [sentence]


def test_a_runner_without_time_zones_leaves_them_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", missing)
    assert business_problems(changed("timezone", "America/Nowhere")) == []
