"""Customers who never stop asking, to see whether anybody was turned away."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from tests.support.cluster import ask

PATIENCE_SECONDS = 30.0


class Customers:
    """Asks for a tenant's page over HTTPS, one request after the other, while the body of the `with` runs.

    Every request is a new connection, because a kept one would not notice that the route is gone.
    """

    def __init__(self, tenant: str, path: str = "/", pause: float = 0.05) -> None:
        """Ask for `path` of `tenant`, with `pause` seconds between two requests."""
        self.tenant, self.path, self.pause = tenant, path, pause
        self.failures: list[str] = []
        self.revisions: list[str] = []
        self.served = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        started = time.monotonic()
        while not self._end.is_set():
            moment = time.monotonic() - started
            try:
                # Slow is not turned away.
                answer = ask(self.tenant, self.path, timeout=PATIENCE_SECONDS)
            except OSError as error:
                self.failures.append(f"after {moment:.2f} s: {error}")
            else:
                if answer.status == 200:
                    self.served += 1
                else:
                    self.failures.append(f"after {moment:.2f} s: HTTP {answer.status} {answer.body[:200]}")
                revision = answer.headers.get("x-barberpro-revision", "")
                if not self.revisions or self.revisions[-1] != revision:
                    self.revisions.append(revision)
            self._end.wait(self.pause)

    def __enter__(self) -> Customers:
        """Send the customers in."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Call them back."""
        self._end.set()
        self._thread.join(timeout=2 * PATIENCE_SECONDS)

    def assert_served(self, at_least: int = 20) -> None:
        """Nobody was turned away, and enough were there to say so."""
        assert not self._thread.is_alive(), f"a customer of {self.tenant} is still waiting for an answer"
        assert self.failures == [], f"{len(self.failures)} of {len(self.failures) + self.served} requests failed: {self.failures[:5]}"
        assert self.served >= at_least, f"only {self.served} requests were made"
