"""What takes long is never silent, and an environment that a killed run has left half-made is made anew."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

SLOW = ("-m venv", "install-packages", "pip install", "$(PYTEST) --numprocesses", "deploy_platform.yml", "deploy_vertical.yml")
LINES = [line.strip() for line in (ROOT / "Makefile").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("command", SLOW)
def test_what_takes_long_is_wrapped_in_a_step(command: str) -> None:
    found = [line for line in LINES if command in line]
    assert found
    assert [line for line in found if "$(STEP)" not in line] == []


def test_an_environment_begins_empty() -> None:
    """An installer takes a package for installed whose files a killed one has not all written."""
    (made,) = [line for line in LINES if "-m venv" in line]
    assert "-m venv --clear " in made
