# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for many tenants at once: one watch a kind for all of them, looked at by one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import TENANT_LABEL, Ref
from ansible_collections.barberpro.platform.plugins.module_utils._wait import LOOK_SECONDS, Seen, has_to_become_ready, is_ready, topics_for
from ansible_collections.barberpro.platform.plugins.module_utils._watch import Topic, Watch

# Between two looks at everything: a thousand tenants are not looked at for each of ten thousand events.
_BREATH = 0.2
_MADE_BY_OTHERS = frozenset({"Pod", "ReplicaSet", "Event"})


@dataclass
class _Ticket:
    """Somebody who waits: for what, since when, how long at most; and how it ended."""

    refs: list[Ref]
    timeout: float
    begun: float
    versions: Mapping[Ref, int]
    started: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0
    error: PlatformError | None = None


class Lookout:
    """Use as a context manager; ``wait`` does what ``_wait.wait_ready`` does, for any number of threads."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.watch = Watch(client, [])
        self._tickets: list[_Ticket] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def __enter__(self) -> Lookout:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self.watch.signals.put(Topic("", "", ""))
        self._thread.join()
        self.watch.__exit__()

    def wait(self, refs: list[Ref], timeout: float, versions: Mapping[Ref, int]) -> float:
        """Wait until all objects are ready; see _wait.wait_ready. Raises NotReady.

        The watch of a kind may have begun long before, and be behind: at first it shows what was there before the caller wrote ``versions``.
        """
        wanted = [ref for ref in refs if has_to_become_ready(ref)]
        if not wanted:
            return 0.0
        ticket = _Ticket(wanted, timeout, self.client.now(), versions)
        with self._lock:
            # Everywhere, and what we apply narrowed to tenants; what controllers make of it need not bear the label.
            for topic in topics_for(wanted):
                labels = None if topic.kind in _MADE_BY_OTHERS else TENANT_LABEL
                self.watch.follow(Topic(topic.api_version, topic.kind, "", labels, topic.fields))
            self._tickets.append(ticket)
            over = self._over.is_set()
        if over:  # who looks has ended, and would never see this one
            self._end(ticket, _ended(ticket))
        self.watch.signals.put(Topic("", "", ""))
        ticket.ended.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.seconds

    def _run(self) -> None:
        try:
            self._look_round()
        finally:
            # Nobody waits for ever, whatever has ended this thread.
            self._over.set()
            with self._lock:
                left = list(self._tickets)
            for ticket in left:
                self._end(ticket, _ended(ticket))

    def _look_round(self) -> None:
        while not self._over.is_set():
            self.watch.wait(LOOK_SECONDS)
            with self._lock:
                tickets = list(self._tickets)
            try:
                spaces = _by_namespace(self.watch) if tickets else {}
            except PlatformError as error:
                for ticket in tickets:
                    self._end(ticket, error)
                continue
            for ticket in tickets:
                self._look(spaces, ticket)
            self._over.wait(_BREATH)

    def _look(self, spaces: dict[str, dict[str, list[dict[str, Any]]]], ticket: _Ticket) -> None:
        elapsed = time.monotonic() - ticket.started
        seen = Seen({kind: [] for kind in self.watch.kinds()})
        for name in {ref.namespace or ref.name for ref in ticket.refs}:
            for kind, objects in spaces.get(name, {}).items():
                seen.objects[kind] = seen.objects.get(kind, []) + objects
        try:
            if is_ready(self.client, seen, ticket.refs, ticket.begun, elapsed, ticket.timeout, ticket.versions):
                ticket.seconds = elapsed
                self._end(ticket)
        except PlatformError as error:
            self._end(ticket, error)

    def _end(self, ticket: _Ticket, error: PlatformError | None = None) -> None:
        with self._lock:
            if ticket not in self._tickets:  # ended by another thread in the meantime
                return
            self._tickets.remove(ticket)
        ticket.error = error
        ticket.ended.set()


def _ended(ticket: _Ticket) -> PlatformError:
    """Return what is told to somebody who waits when nobody looks any more."""
    return PlatformError(f"{ticket.refs[0]}: waiting for it has ended before it was ready; run again")


def _by_namespace(watch: Watch) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return all that is seen by namespace and kind; a Namespace is in itself. Raises what ended a watch."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind in watch.kinds():
        for obj in watch.of(kind):
            space = obj["metadata"].get("namespace") or obj["metadata"]["name"]
            found.setdefault(space, {}).setdefault(kind, []).append(obj)
    return found
