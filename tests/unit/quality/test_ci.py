"""What continuous integration runs ends, and leaves nothing behind, however it is ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.waiting import until

Start = Callable[[str], subprocess.Popen[bytes]]
MAKEFILE = """
sanity:
\t@echo sanity >> order
test:
\t@echo test >> order
\t@python3 step.py Tests -- bash -c '{command}'
down:
\t@echo down >> order
"""
# In a session of its own, as Ansible's workers are, and deaf to all that can be ignored.
LEFT = "(trap \"\" TERM HUP INT; exec setsid -w bash -c \"exec -a left-by-{ident} sleep 600\") & echo begun >> order;"
OBEDIENT = LEFT + " trap \"exit 7\" INT; wait; wait"
DEAF = LEFT + " trap \"\" INT; wait; wait; sleep 600"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script of this project and nothing else of it."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    shutil.copy(ROOT / "demo" / "step.py", tmp_path / "step.py")
    return tmp_path


def lines(checkout: Path) -> list[str]:
    """What ran, in order."""
    file = checkout / "order"
    return file.read_text().split() if file.exists() else []


def left(ident: str) -> list[str]:
    """Processes that a run has left, by the name that they have given themselves."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"left-by-{ident}".encode() in entry.read_bytes().split(b"\0"):
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("code", [0, 3])
def test_a_run_ends_with_the_code_of_its_tests_and_takes_the_cluster_down(checkout: Path, code: int) -> None:
    (checkout / "Makefile").write_text(MAKEFILE.format(command=f"echo 5 passed; exit {code}"))
    done = subprocess.run(["bash", ".ci/run"], cwd=checkout, capture_output=True, text=True, timeout=120, check=False)
    assert bool(done.returncode) == bool(code)
    assert lines(checkout) == ["sanity", "test", "down"]
    assert done.stdout.splitlines()[-1] == "5 passed"


@pytest.fixture
def started(checkout: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start the script on a command in the place of the tests; it is ended by SIGKILL if a test fails on the way."""
    runs = []

    def start(command: str) -> subprocess.Popen[bytes]:
        (checkout / "Makefile").write_text(MAKEFILE.format(command=command))
        run = ["env", "--default-signal=INT", "bash", ".ci/run"]
        runs.append(subprocess.Popen(run, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
        return runs[-1]

    yield start
    for run in runs:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_ended_leaves_no_process(checkout: Path, started: Start, unique: Callable[[str], str], number: signal.Signals) -> None:
    ident = unique("run")
    run = started(OBEDIENT.format(ident=ident))
    until(lambda: "begun" in lines(checkout) and left(ident), "the tests to begin")
    os.kill(run.pid, number)
    # Impatient people press it twice.
    os.kill(run.pid, number)
    assert run.wait(timeout=120) == 128 + number
    assert lines(checkout)[-1] == "down"
    assert left(ident) == []


@pytest.mark.parametrize(("command", "code"), [(OBEDIENT, 124), (DEAF, 137)], ids=["ends", "is-killed"])
def test_a_run_that_takes_too_long_is_ended_and_leaves_no_process(
    checkout: Path, started: Start, unique: Callable[[str], str], command: str, code: int,
) -> None:
    """With seconds instead of the minutes of the script."""
    ident = unique("run")
    script = (checkout / ".ci" / "run").read_text()
    assert script.count("--kill-after=60 5000") == 1
    (checkout / ".ci" / "run").write_text(script.replace("--kill-after=60 5000", "--kill-after=2 10"))
    run = started(command.format(ident=ident))
    until(lambda: "begun" in lines(checkout) and left(ident), "the tests to begin")
    assert run.wait(timeout=120) == code
    assert lines(checkout)[-1] == "down"
    assert left(ident) == []
