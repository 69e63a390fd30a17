"""Do racing creates get past a quota? `make quota-race` (simulated profile; 10,000 creates).

Two races, each in a namespace of its own, after waiting as the infrastructure stage does. Creates alone must overshoot by 0. Creates and deletes
race at the limit: the namespace is filled first, and deletes come in small bursts, each when the quota is full, since a namespace that has room
cannot show an overshoot. The most that was there is counted through a watch of another client. Writes benchmarks/results/quota_race.json; 1
when the first race overshoots. ARGS="--creates 1000 --result FILE" is a quick look.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import COUNTED, await_live
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._watch import Topic, Watcher

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).resolve().parent / "results" / "quota_race.json"
KUBECONFIG = ROOT / ".embedded" / "simulated" / "kubeconfig"
# Made by the cluster in every namespace, and counted by the quota.
OWN = 1
# A burst of deletes gives back one in so many of the quota. Places that are free all at once are what creates race for while the controller counts.
NEAR = 20
# Of the operations: fewer deletes at the limit than one in so many say nothing of an overshoot.
FEW = 50


class Crowd(Watcher):
    """Counts a namespace's ConfigMaps at each event of a watch: these come in the order of the writes, so that no moment is missed as between two lists.

    ``most`` is the greatest number of racers so far.
    """

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        begin = threading.Event()
        begin.set()
        super().__init__(Client.from_options({"kubeconfig": kubeconfig}), Topic("v1", "ConfigMap", namespace), queue.Queue(), begin)
        self.most = self.lists = 0

    @property
    def racers(self) -> int:
        """How many are there, as far as the watch has come."""
        return len(self.objects) - OWN

    def _list(self) -> str:
        version = super()._list()
        self.lists += 1
        self.most = max(self.most, self.racers)
        return version

    def _take(self, event: dict[str, Any], version: str) -> str:
        version = super()._take(event, version)
        self.most = max(self.most, self.racers)
        return version

    def __enter__(self) -> Crowd:
        """Begin to count. Raises what the first list does, RuntimeError when there is none in 60 s."""
        self.start()
        if not self.listed.wait(60):
            raise RuntimeError("the objects that race cannot be listed in 60 s")
        if self.error:
            raise self.error
        return self

    def __exit__(self, *_exception: object) -> None:
        """End the watch."""
        self.stop()
        self.join(10)

    def come_to(self, there: int) -> None:
        """Return when the watch has come to the end. Raises RuntimeError when it was broken, so that something may have been missed, or is late."""
        deadline = time.monotonic() + 60
        while self.racers != there:
            if self.error or time.monotonic() > deadline:
                raise RuntimeError(f"the watch counts {self.racers} racers, and {there} are listed: {self.error or 'it is 60 s late'}")
            time.sleep(0.05)
        if self.lists != 1:
            raise RuntimeError("the watch was broken off and listed anew, and the most that was there may have been in between; run it again")


class Names:
    """Names of objects that are there for certain, for many threads, and when one of them may be deleted: in bursts.

    When the quota refuses a create while there are ``full``, so many as a ``burst`` are given away; then there are creates alone until it refuses again.
    A delete for each create would hold the number down just when too many are let in.
    """

    def __init__(self, names: Iterable[str], full: int, burst: int) -> None:
        self._names, self._full, self._burst = deque(names), full, burst
        self._left, self._lock = 0, threading.Lock()

    def add(self, name: str) -> None:
        """Take in an object that has been made."""
        with self._lock:
            self._names.append(name)

    def refused(self) -> None:
        """Take note that a create was refused."""
        with self._lock:
            if not self._left and len(self._names) >= self._full:
                self._left = self._burst

    def take(self) -> str | None:
        """Give the oldest away, to be deleted; None between bursts."""
        with self._lock:
            if not self._left:
                return None
            self._left -= 1
            return self._names.popleft()


class Race:
    """A namespace with a quota on ConfigMaps, and many clients' worth of creates at it."""

    def __init__(self, kubeconfig: str, hard: int, concurrency: int = 48) -> None:
        self.kubeconfig = kubeconfig
        self.client = Client.from_options({"kubeconfig": kubeconfig}, concurrency=concurrency)
        self.resources = Resources(self.client)
        self.namespace = f"quota-race-{uuid.uuid4().hex[:8]}"
        self.hard = hard
        self.quota = Ref("v1", "ResourceQuota", self.namespace, "tier")

    def __enter__(self) -> Race:
        """Make the namespace and the quota; nothing is waited for."""
        self.resources.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        spec = {"hard": {"configmaps": str(self.hard + OWN)}}
        self.resources.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tier", "namespace": self.namespace}, "spec": spec})
        return self

    def __exit__(self, *_exception: object) -> None:
        """Remove the namespace without waiting."""
        self.resources.delete(Ref("v1", "Namespace", "", self.namespace))

    def wait(self) -> None:
        """Wait as the infrastructure stage does before it gives anybody a right in the namespace."""
        end = time.monotonic() + 30
        while len(self.resources.list("v1", "ConfigMap", self.namespace)) < OWN and time.monotonic() < end:
            time.sleep(0.05)
        await_live(self.resources, [self.quota], time.monotonic() + 60, COUNTED)

    def create(self, number: int) -> bool:
        """Create one object; returns whether it was admitted. Raises ApiError for any other refusal than the quota's."""
        name = f"racer-{number}"
        try:
            self.resources.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}})
        except ApiError as error:
            # Losers of many conflicts over the quota's status are refused too, and told to try again.
            if "exceeded quota" in error.server_message or error.status in (409, 500, 503):
                return False
            raise
        return True

    def there(self) -> int:
        """Return how many racers exist."""
        return len(self.resources.list("v1", "ConfigMap", self.namespace)) - OWN

    def side_by_side(self, function: Callable[[int], Any], items: Iterable[int]) -> list[Any]:
        """Call a function for all items, as many at a time as there are clients. Raises RuntimeError when one of the calls fails."""
        results = self.client.map(function, items)
        failed = [str(result) for result in results if isinstance(result, PlatformError)]
        if failed:
            raise RuntimeError(f"{len(failed)} operations failed for another reason than the quota: {failed[0]}")
        return results

    def creates(self, number: int) -> dict[str, Any]:
        """Race that many creates; what became of them."""
        begun = time.monotonic()
        results = self.side_by_side(self.create, range(number))
        there = self.there()
        return {
            "creates": number, "hard": self.hard, "admitted": sum(result is True for result in results), "there": there,
            "overshoot": max(0, there - self.hard), "seconds": round(time.monotonic() - begun, 1),
        }  # fmt: skip

    def fill(self, first: int) -> list[str]:
        """Create objects, numbered from ``first``, until the quota is used up; their names. Raises RuntimeError when it is not, or lets more in."""
        for _ in range(10):
            missing = self.hard - self.there()
            if missing <= 0:
                break
            # A create that has lost too many conflicts over the quota's status is made up for in the next turn.
            self.side_by_side(self.create, range(first, first + missing))
            first += missing
        self.wait()
        more = self.create(first)
        names = [str(obj["metadata"]["name"]) for obj in self.resources.list("v1", "ConfigMap", self.namespace, terse=True)]
        racers = [name for name in names if name.startswith("racer-")]
        if more or len(racers) != self.hard:
            raise RuntimeError(f"the namespace has {len(racers)} racers for a quota of {self.hard}, and one more was {'admitted' if more else 'refused'}")
        return racers

    def creates_and_deletes(self, number: int) -> dict[str, Any]:
        """Fill the namespace, then race that many creates and deletes at its limit; the most that was there, and by how much that was too many.

        Every other operation is a delete during a burst; all others are creates. Raises RuntimeError when there were too few deletes at the limit for
        the overshoot to mean anything.
        """
        burst = max(1, self.hard // NEAR)
        # A create whose answer got lost is there and not among the names: a few of these must not keep bursts from beginning.
        names = Names(self.fill(number), self.hard - burst // 10, burst)
        begun = time.monotonic()

        def one(item: int) -> str:
            if item % 2 and (name := names.take()):
                return "deleted" if self.resources.delete(Ref("v1", "ConfigMap", self.namespace, name)) else "gone"
            if not self.create(item):
                names.refused()
                return "refused"
            names.add(f"racer-{item}")
            return "admitted"

        with Crowd(self.kubeconfig, self.namespace) as crowd:
            done = Counter(self.side_by_side(one, range(number)))
            seconds = time.monotonic() - begun
            crowd.come_to(self.there())
        if done["deleted"] < max(1, number // FEW):
            raise RuntimeError(f"{dict(done)}: fewer than one in {FEW} of {number} operations was a delete at the limit, so that no overshoot could show")
        return {
            "operations": number, "hard": self.hard, "deletes_at_limit": done["deleted"], "admitted": done["admitted"], "refused": done["refused"],
            "most": crowd.most, "overshoot": max(0, crowd.most - self.hard), "seconds": round(seconds, 1),
        }  # fmt: skip


def main() -> int:
    """Run both races; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=10_000)
    parser.add_argument("--kubeconfig", default=str(KUBECONFIG))
    parser.add_argument("--result", type=Path, default=RESULT, help="file that is written")
    options = parser.parse_args()
    found: dict[str, Any] = {"command": "make quota-race"}
    hard = max(1, options.creates // 10)
    with Race(options.kubeconfig, hard) as race:
        race.wait()
        found["creates"] = race.creates(options.creates)
    with Race(options.kubeconfig, hard) as race:
        race.wait()
        found["with_deletes"] = race.creates_and_deletes(options.creates)
    options.result.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 1 if found["creates"]["overshoot"] else 0


if __name__ == "__main__":
    sys.exit(main())
