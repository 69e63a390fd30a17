"""Whose turn it is on the one cluster that the end-to-end tests and Molecule's scenarios share."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import ROOT


@contextmanager
def turn(alone: bool = False) -> Iterator[None]:
    """Wait for one's turn and keep it: side by side with others, or alone, for who takes away what all tenants need. Not to be nested."""
    folder = ROOT / ".embedded"
    with (folder / "tests.queue").open("w") as queue, (folder / "tests.lock").open("w") as lock:
        # Whoever waits holds the queue, so that no later one slips past.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield
