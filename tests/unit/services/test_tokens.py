"""Tokens, idempotency keys and what customers may send."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from barberpro_booking import secrets
from barberpro_booking.schemas import BookingRequest, Customer


def test_a_sealed_token_comes_back_with_its_key_only():
    token = secrets.new_token()
    sealed = secrets.seal(token, "key-of-the-client", "id-1")
    assert sealed.hex() != token
    assert secrets.unseal(sealed, "key-of-the-client", "id-1") == token
    assert secrets.unseal(sealed, "another-key", "id-1") != token
    assert secrets.unseal(sealed, "key-of-the-client", "id-2") != token


def test_tokens_are_compared_by_digest():
    token = secrets.new_token()
    assert len(token) == 64
    assert secrets.matches(token, secrets.digest(token))
    assert not secrets.matches(token + "0", secrets.digest(token))


def test_the_fingerprint_of_a_request_ignores_the_order_of_its_fields():
    assert secrets.request_digest({"a": 1, "b": 2}, None) == secrets.request_digest({"b": 2, "a": 1}, None)
    assert secrets.request_digest({"a": 1}, None) != secrets.request_digest({"a": 1}, "run")


@pytest.mark.parametrize(
    ("given", "kept"), [("+54 9 11 5555-1234", "+5491155551234"), ("(011) 5555 1234", "01155551234"), (" 11/5555.1234 ", "1155551234")]
)
def test_telephone_numbers_are_kept_as_digits(given, kept):
    assert Customer(name="Ana", phone=given).phone == kept


@pytest.mark.parametrize("phone", ["", "12345", "1234567890123456", "call me", "+54 + 11 5555", "55551234;drop"])
def test_what_is_no_telephone_number_is_refused(phone):
    with pytest.raises(ValidationError, match="teléfono"):
        Customer(name="Ana", phone=phone)


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "A\x00na", "A\nna"])
def test_bad_names_are_refused(name):
    with pytest.raises(ValidationError):
        Customer(name=name, phone="1155551234")


def test_a_start_needs_an_offset_and_equal_instants_are_equal():
    def request(start: str, staff: str | None = "juan") -> BookingRequest:
        return BookingRequest.model_validate({"service": "corte", "staff": staff, "start": start, "customer": {"name": "Ana", "phone": "1155551234"}})

    assert request("2027-03-01T09:00:00-03:00") == request("2027-03-01T12:00:00Z")
    assert request("2027-03-01T12:00:00Z", "").staff is None
    with pytest.raises(ValidationError, match="timezone"):
        request("2027-03-01T09:00:00")
    with pytest.raises(ValidationError):
        request("0001-01-01T00:00:00+14:00")
