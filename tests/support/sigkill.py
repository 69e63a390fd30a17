"""Programs that are ended by SIGKILL while they work, at a moment that the test names."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path


def killed(
    command: list[str], when: Callable[[float], bool], *, environment: Mapping[str, str], folder: Path | None = None,
    victims: Callable[[], Iterable[int]] | None = None,
) -> bool:
    """Begin a program, end it by SIGKILL when so (of the seconds since), and return whether it was still at work; one that was not has to have done well.

    It dies with all that it started and that stayed with it. Only the ``victims`` die, where they are named, as who runs out of memory does: the
    program then has to end because of that.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        while process.poll() is None and not when(time.monotonic() - started):
            time.sleep(0.01)
        if process.returncode is not None:
            said.seek(0)
            assert process.returncode == 0, f"`{' '.join(command)}` failed by itself:\n{said.read().decode(errors='replace')}"
            return False
    if victims is None:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait() != 0
    while process.poll() is None:
        for victim in victims():
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        time.sleep(0.02)
    return process.returncode != 0


def after(seconds: float) -> Callable[[float], bool]:
    """Return the moment so many seconds after the beginning, as ``killed`` wants it."""
    return lambda elapsed: elapsed > seconds


def killed_later_and_later(run: Callable[[int, Callable[[float], bool]], bool], first: float, growth: float) -> int:
    """Kill runs after longer and longer times until one comes to its end; return how many were killed.

    ``run`` gets the number of the run and when to kill it, and returns what ``killed`` says. Each run has more done already, and comes further.
    """
    return next(number for number in itertools.count() if not run(number, after(first * growth**number)))
