"""Quantities, and whether a live object is as declared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _quantity
from ansible_collections.barberpro.platform.plugins.module_utils._compare import asked_fields
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000m", 1), ("1", 1), ("1.5Gi", 1610612736), ("2e3", 2000), ("1E", 10**18), ("5n", Decimal("5e-9")), (".5", Decimal("0.5")), (2, 2), ("-1k", -1000)],
)
def test_quantities(text: Any, value: Any) -> None:
    assert _quantity.parse(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", None, True, "1.2.3", "--1"])
def test_what_is_no_quantity(text: Any) -> None:
    assert _quantity.parse(text) is None


def test_numbers_need_a_quantity_or_nothing() -> None:
    assert _quantity.number(None) == 0
    with pytest.raises(ValueError, match="'x' is not a quantity"):
        _quantity.number("x")


@given(st.integers(min_value=0, max_value=10**15), st.sampled_from(["m", "", "k", "M", "Ki", "Mi", "Gi"]))
def test_the_same_amount_in_another_unit_is_equal(amount: int, unit: str) -> None:
    value = _quantity.parse(f"{amount}{unit}")
    assert value is not None
    assert _quantity.parse(f"{value * 1000:f}m") == value


@pytest.mark.parametrize(
    ("value", "binary", "text"),
    [("1500m", False, "1500m"), ("2", False, "2"), ("924Mi", True, "924Mi"), ("1536Mi", True, "1.5Gi"), ("0", True, "0"), ("3Ti", True, "3Ti")],
)
def test_shown_as_people_write_it(value: str, binary: bool, text: str) -> None:
    assert _quantity.show(_quantity.number(value), binary) == text


def obj(kind: str = "Thing", **body: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "labels": {"a": "1"}}, **body}


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        ({"cpu": "1000m", "memory": "1Gi"}, {"cpu": "1", "memory": "1073741824"}),
        ({"a": {}, "b": [], "c": None, "d": "", "e": False, "f": 0}, {}),
        ({"a": 1}, {"a": 1, "defaulted": True}),
        ({"ports": [{"name": "http", "port": 80}]}, {"ports": [{"name": "extra", "port": 1}, {"name": "http", "port": 80, "protocol": "TCP"}]}),
        ({"rules": [{"verbs": ["get"]}]}, {"rules": [{"verbs": ["get"], "x": 1}]}),
        ({"policyTypes": ["Ingress", "Egress"]}, {"policyTypes": ["Ingress", "Egress"]}),
    ],
)
def test_as_declared(wanted: dict[str, Any], seen: dict[str, Any]) -> None:
    assert asked_fields(obj(spec=wanted), obj(spec=seen, status={"x": 1})) == []


@pytest.mark.parametrize(
    ("wanted", "seen", "difference"),
    [
        ({"replicas": 2}, {"replicas": 3}, "spec.replicas: 3 instead of 2"),
        ({"cpu": "1"}, {"cpu": "1001m"}, "spec.cpu: '1001m' instead of '1'"),
        ({"a": True}, {"a": "true"}, "spec.a: 'true' instead of True"),
        ({"a": True}, {}, "spec.a: nothing instead of True"),
        ({"list": ["a"]}, {"list": ["a", "b"]}, "spec.list: 2 entries instead of 1"),
        ({"list": ["a", "b"]}, {"list": ["b", "b"]}, "spec.list[0]: 'b' instead of 'a'"),
        ({"ports": [{"name": "http", "port": 80}]}, {"ports": [{"name": "http", "port": 81}]}, "spec.ports[http].port: 81 instead of 80"),
        ({"ports": [{"name": "http"}]}, {"ports": [{"name": "other"}]}, "spec.ports[http]: nothing instead of {'name': 'http'}"),
        ({"a": "x" * 100}, {"a": "y"}, f"spec.a: 'y' instead of '{'x' * 76}..."),
    ],
)
def test_not_as_declared(wanted: dict[str, Any], seen: dict[str, Any], difference: str) -> None:
    assert asked_fields(obj(spec=wanted), obj(spec=seen)) == [difference]


def test_labels_are_text_and_secrets_are_not_shown() -> None:
    changed = obj()
    changed["metadata"] = {"name": "x", "labels": {"a": "1000m"}}
    assert asked_fields(obj(), changed) == ["metadata.labels.a: '1000m' instead of '1'"]
    assert asked_fields(obj("Secret", data={"k": "canary"}, stringData={"x": "y"}), obj("Secret", data={"k": "other"})) == ["data.k"]
