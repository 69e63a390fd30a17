"""What wraps the long steps of `make demo` and `make test`: nobody waits before a silent terminal."""

from __future__ import annotations

import re
import runpy
import sys

import pytest

from tests.conftest import ROOT

STEP = runpy.run_path(str(ROOT / "demo" / "step.py"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is too long."""
    assert STEP["SILENCE_SECONDS"] < 10
    monkeypatch.setitem(STEP["Ticker"].tick.__globals__, "SILENCE_SECONDS", 0.4)


def test_a_silent_step_says_that_it_still_works(impatient: None, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert STEP["run"]("Long", [sys.executable, "-c", "import time; time.sleep(1.8)"]) == 0
    said = capfdbinary.readouterr().out.decode().splitlines()
    assert said[0] == "==> Long"
    assert re.fullmatch(r"    \.\.\. Long: \d+ s, still working", said[1])


def test_what_a_step_says_is_shown_and_its_failure_told(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert STEP["run"]("Bad", [sys.executable, "-c", "import sys; print('half'); sys.exit(3)"]) == 3
    shown = capfdbinary.readouterr()
    assert b"half\n" in shown.out
    assert re.fullmatch(r"    Bad: failed after \d+ s \(exit code 3\)\n", shown.err.decode())


def test_a_step_that_a_signal_ends_has_its_number(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert STEP["run"]("Killed", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_a_program_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert STEP["run"]("None", ["/nonexistent/program"]) == 127
    assert capsys.readouterr().err == "None: cannot run /nonexistent/program: No such file or directory\n"
