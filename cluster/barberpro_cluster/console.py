"""Progress for the person at the terminal: one line a step, and never more than ten seconds of silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 8.0

_lock = threading.Lock()
_last_output = time.monotonic()


def say(text: str) -> None:
    """Print one line at once, also when the output is a pipe."""
    global _last_output
    with _lock:
        print(text, flush=True)
        _last_output = time.monotonic()


def warn(text: str) -> None:
    """Print one line on standard error."""
    with _lock:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, say every few seconds that it still runs, and how long it took when that was noticeable."""
    say(f"==> {title}")
    started = time.monotonic()
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(1.0):
            if time.monotonic() - _last_output >= HEARTBEAT_SECONDS:
                say(f"    ... {title}: {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    elapsed = time.monotonic() - started
    if elapsed >= 1.0:
        say(f"    done in {elapsed:.1f} s: {title}")
