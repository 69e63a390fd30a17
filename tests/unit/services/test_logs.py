"""Logs are JSON lines without personal data or secrets."""

from __future__ import annotations

import json
import logging

import pytest
import sqlalchemy.exc

from barberpro_service import logs


class Failure(Exception):
    """As a driver raises it: the message quotes the row."""

    sqlstate = "23514"


@pytest.fixture
def restore():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def test_lines_are_json_with_identity_and_hidden_secrets(restore, capsys):
    logs.configure("info", tenant="palermo", service="booking")
    logs.logger("x").info("booked", phone="1155551234", token="t0ken", service_id="corte")
    logging.getLogger("library").warning("from %s", "elsewhere")
    logs.logger("x").debug("not shown")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["booked", "from elsewhere"]
    assert lines[0]["phone"] == lines[0]["token"] == "[hidden]"
    assert {line["tenant"] for line in lines} == {"palermo"}


def test_database_errors_are_described_without_their_message():
    error = sqlalchemy.exc.IntegrityError("INSERT", {"phone": "1155551234"}, Failure("Failing row contains (Ana, 1155551234)"))
    described = logs.describe(error)
    assert described["sqlstate"] == "23514"
    assert "1155551234" not in json.dumps(described)


def test_other_errors_keep_their_reason_and_stack():
    with pytest.raises(ValueError, match="chairs") as raised:
        raise ValueError("chairs are missing")
    described = logs.describe(raised.value)
    assert described["reason"] == "chairs are missing"
    assert "test_logs.py" in described["frames"][-1]
