"""Waiting for what must come, on a machine that may be busy: a test says for what, and fails with what it saw last.

No time here is a measure of speed. It bounds only the waiting for what never comes, and is far beyond what a busy machine needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")
SECONDS = 120.0


def until(
    condition: Callable[[], Seen], what: str, seconds: float = SECONDS, *,
    good: Callable[[Seen], object] = bool, despite: type[Exception] | tuple[type[Exception], ...] = (), pause: float = 0.1,
) -> Seen:
    """Ask again and again until the answer is good, and return it. What ``despite`` names is no answer yet; anything else that is raised ends the waiting.

    Raises AssertionError with ``what`` was waited for and the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        # Asked once more after the last pause, however long that took.
        late = time.monotonic() > deadline
        last: object
        try:
            seen = condition()
        except despite as error:
            last = error
        else:
            if good(seen):
                return seen
            last = seen
        if late:
            raise AssertionError(f"waited {seconds:g} s for {what}; seen last: {last!r}")
        time.sleep(pause)


def equal_to(wanted: object) -> Callable[[object], bool]:
    """Return what finds an answer good that equals this one; a method ``__eq__`` would find those of other types good, too."""
    return lambda seen: seen == wanted


def release_when(condition: Callable[[], object], release: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Let go of what others wait for as soon as it is seen that somebody does; return whether it was. Lets go in any case: nobody waits for ever."""
    try:
        until(condition, "somebody to wait", seconds)
    except AssertionError:
        return False
    finally:
        release()
    return True
