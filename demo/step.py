"""Run one step of a long job so that the terminal is never silent: titles it, times it and reports that it still works.

Usage: step.py TITLE -- COMMAND [ARGUMENT ...]

Runs with the machine's own python3 (3.9 or later) and without any package, because it also wraps the step that installs those.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import BinaryIO

SILENCE_SECONDS = 8.0
"""A line is printed after this much silence; the promise to the user is ten seconds."""


class Ticker:
    """Remembers when something was last printed and fills the silence."""

    def __init__(self, title: str) -> None:
        """Start counting; nothing is printed before `SILENCE_SECONDS` have passed."""
        self.title = title
        self.started = time.monotonic()
        self.last = self.started
        self.finished = threading.Event()

    def tick(self) -> None:
        """Until `finished` is set, print how long the step has been running whenever it was silent for too long."""
        while not self.finished.wait(0.5):
            now = time.monotonic()
            if now - self.last >= SILENCE_SECONDS:
                self.last = now
                print(f"    ... {self.title}: {now - self.started:.0f} s, still working", flush=True)

    def copy(self, stream: BinaryIO) -> None:
        """Copy the command's output to ours as it comes, in whatever pieces it comes."""
        while piece := os.read(stream.fileno(), 65536):
            self.last = time.monotonic()
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def run(title: str, command: list[str]) -> int:
    """Run `command` under `title` and return its exit code (128 + N when signal N ended it)."""
    print(f"==> {title}", flush=True)
    environment = dict(os.environ)
    if sys.stdout.isatty():
        environment.setdefault("ANSIBLE_FORCE_COLOR", "1")
    environment.setdefault("PYTHONUNBUFFERED", "1")
    ticker = Ticker(title)
    # Ended from outside, the command is ended too, and waited for: it would go on unseen, and write into a pipe that nobody reads.
    process: subprocess.Popen[bytes] | None = None
    received: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        received.append(number)
        if process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        for number in received:  # before there was a command
            process.send_signal(number)
        code = _end_of(process, ticker)
    except OSError as error:
        print(f"{title}: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    elapsed = time.monotonic() - ticker.started
    code = code if code >= 0 else 128 - code
    if code:
        print(f"    {title}: failed after {elapsed:.0f} s (exit code {code})", file=sys.stderr, flush=True)
    return code


def _end_of(process: subprocess.Popen[bytes], ticker: Ticker) -> int:
    """Show what the command prints, or that it still works, and return its exit code."""
    assert process.stdout is not None
    # A command may leave a daemon behind that holds the pipe: the end of the command counts, not the end of the pipe.
    copier = threading.Thread(target=ticker.copy, args=(process.stdout,), daemon=True)
    copier.start()
    threading.Thread(target=ticker.tick, daemon=True).start()
    try:
        code = process.wait()
    except KeyboardInterrupt:
        code = process.wait()
    copier.join(timeout=1.0)
    ticker.finished.set()
    return code


def main(arguments: list[str]) -> int:
    """Entry point; see the module's docstring."""
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    return run(arguments[0], arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
