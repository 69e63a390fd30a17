"""What wraps the long steps of `make demo` and `make test`: nobody waits before a silent terminal."""

from __future__ import annotations

import itertools
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from tests.support.waiting import until

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


def test_no_silence_lasts_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that the ticker reads and lets pass: how soon a machine runs it is the machine's."""
    now, spoken, ticks = [0.0], [0.0], STEP["Ticker"].tick.__globals__
    monkeypatch.setitem(ticks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setitem(ticks, "print", lambda *_words, **_options: spoken.append(now[0]))

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return now[0] > 120

    ticker = STEP["Ticker"]("Long")
    ticker.finished = SimpleNamespace(wait=wait)
    ticker.tick()
    assert len(spoken) > 10
    assert max(later - earlier for earlier, later in itertools.pairwise([*spoken, now[0]])) < 10


def test_what_a_step_says_is_shown_and_its_failure_told(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert STEP["run"]("Bad", [sys.executable, "-c", "import sys; print('half'); sys.exit(3)"]) == 3
    shown = capfdbinary.readouterr()
    assert b"half\n" in shown.out
    assert re.fullmatch(r"    Bad: failed after \d+ s \(exit code 3\)\n", shown.err.decode())


def test_a_step_that_a_signal_ends_has_its_number(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert STEP["run"]("Killed", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137
    assert re.fullmatch(r"    Killed: failed after \d+ s \(exit code 137\)\n", capfdbinary.readouterr().err.decode())


def test_a_program_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert STEP["run"]("None", ["/nonexistent/program"]) == 127
    assert capsys.readouterr().err == "None: cannot run /nonexistent/program: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_step_that_is_ended_ends_its_command_and_waits_for_it(tmp_path: Path, number: signal.Signals) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    command = f"trap 'echo > {ended}; exit 9' TERM HUP; echo > {begun}; while :; do sleep 0.1; done"
    with subprocess.Popen([sys.executable, str(ROOT / "demo" / "step.py"), "Long", "--", "bash", "-c", command], stderr=subprocess.PIPE, text=True) as step:
        until(begun.exists, "the command to begin")
        step.send_signal(number)
        said = step.communicate(timeout=60)[1]
    assert (step.returncode, ended.exists()) == (9, True)
    assert re.fullmatch(r"    Long: failed after \d+ s \(exit code 9\)\n", said)
