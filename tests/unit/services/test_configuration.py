"""Environment and mounted files: each mistake is one sentence that names it."""

from __future__ import annotations

import pytest

from barberpro_service.config import ConfigError, read_database, read_environment
from barberpro_walkin.application import booking_url

GOOD = {"host": "db", "port": "5432", "dbname": "barberpro", "schema": "t_1", "sslmode": "require", "user": "app", "password": "s3cret-canary\n"}


@pytest.fixture
def mounted(tmp_path):
    for key, value in GOOD.items():
        (tmp_path / key).write_text(value)
    return tmp_path


def test_defaults_and_values_of_the_environment(monkeypatch):
    monkeypatch.setenv("BARBERPRO_TENANT", "barbershop-palermo")
    monkeypatch.setenv("BARBERPRO_REVISION", "r3")
    environment = read_environment()
    assert (environment.tenant, environment.revision, environment.port, environment.management_port) == ("barbershop-palermo", "r3", 8080, 9090)


def test_every_bad_variable_is_named(monkeypatch):
    monkeypatch.delenv("BARBERPRO_TENANT", raising=False)
    monkeypatch.setenv("BARBERPRO_PORT", "http")
    with pytest.raises(ConfigError) as caught:
        read_environment()
    assert "BARBERPRO_TENANT is not set" in str(caught.value)
    assert "BARBERPRO_PORT: Input should be a valid integer" in str(caught.value)


def test_the_secret_is_read_and_its_password_not_shown(mounted):
    settings = read_database(mounted)
    assert (settings.host, settings.port, settings.schema, settings.password) == ("db", 5432, "t_1", "s3cret-canary")
    assert "canary" not in repr(settings)
    assert settings.ca_file is None
    (mounted / "ca.crt").write_text("pem")
    assert read_database(mounted).ca_file == mounted / "ca.crt"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("port", "70000", "port says '70000', which is not a port; use 1-65535"),
        ("sslmode", "maybe", "sslmode says 'maybe'; use one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("schema", "", "schema is empty; correct that key of the Secret"),
    ],
)
def test_bad_keys_are_named(mounted, key, value, message):
    (mounted / key).write_text(value)
    with pytest.raises(ConfigError) as caught:
        read_database(mounted)
    assert message in str(caught.value)


def test_a_missing_mount_says_what_to_mount(tmp_path):
    with pytest.raises(ConfigError, match="port is missing; mount the Secret with the keys host, port, dbname, schema"):
        read_database(tmp_path / "nothing")


def test_a_key_that_cannot_be_read_is_told(mounted):
    (mounted / "user").unlink()
    (mounted / "user").mkdir()
    with pytest.raises(ConfigError, match="user cannot be read: Is a directory"):
        read_database(mounted)


def test_the_queue_needs_the_address_of_booking(monkeypatch):
    monkeypatch.setenv("BOOKING_URL", "booking-r1:8080")
    with pytest.raises(ConfigError, match="BOOKING_URL is 'booking-r1:8080'; set it to the booking service's address"):
        booking_url()
    monkeypatch.setenv("BOOKING_URL", "http://booking-r1:8080")
    assert booking_url() == "http://booking-r1:8080"
