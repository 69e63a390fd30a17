"""One watch for many: what it shows may be older than what the one who waits has just written."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._lookout import Lookout
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref
from ansible_collections.barberpro.platform.plugins.module_utils._wait import NotReady
from ansible_collections.barberpro.platform.plugins.module_utils._watch import Topic

GATEWAY = "gateway.networking.k8s.io/v1"
MAIN = Ref(GATEWAY, "HTTPRoute", "tenant-a", "main")
JOB = Ref("batch/v1", "Job", "tenant-a", "migrate-r2")


def route(generation: int, version: int, accepted: int) -> dict[str, Any]:
    """The route of customers as it was written last, and as the gateway has taken it over."""
    said = [{"type": kind, "status": "True", "observedGeneration": accepted} for kind in ("Accepted", "ResolvedRefs")]
    parent = {"name": "barberpro"}
    metadata = {"name": "main", "namespace": "tenant-a", "uid": "u", "generation": generation, "resourceVersion": str(version)}
    status = {"parents": [{"parentRef": parent, "conditions": said}]}
    return {"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": metadata, "spec": {"parentRefs": [parent]}, "status": status}


def job(uid: str, version: int, condition: str) -> dict[str, Any]:
    metadata = {"name": JOB.name, "namespace": "tenant-a", "uid": uid, "generation": 1, "resourceVersion": str(version)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": {"conditions": [{"type": condition, "status": "True"}]}}


class Shown:
    """A watch that shows what the test says, and counts the looks at it."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects, self.looks = list(objects), 0
        self.signals: queue.Queue[Topic] = queue.Queue()

    def follow(self, _topic: Topic) -> None:
        """Everything is followed."""

    def kinds(self) -> set[str]:
        return {"HTTPRoute", "Job", "Pod", "Event"}

    def of(self, kind: str) -> list[dict[str, Any]]:
        self.looks += kind == "HTTPRoute"
        return [obj for obj in self.objects if obj["kind"] == kind]

    def wait(self, _seconds: float) -> None:
        time.sleep(0.01)

    def __exit__(self, *_exception: object) -> None:
        """Nothing has to be ended."""

    def looked_at(self) -> None:
        """Return when what is shown now has been looked at."""
        end, seen = time.monotonic() + 60, self.looks
        while self.looks < seen + 2:
            assert time.monotonic() < end
            time.sleep(0.01)


@contextmanager
def waiting(watch: Shown, ref: Ref, version: int, timeout: float = 600) -> Iterator[Future[float]]:
    """Wait for an object that was written at a version, aside."""
    lookout = Lookout(SimpleNamespace(now=lambda: 0.0, node_timeout=15.0))  # type: ignore[arg-type]
    lookout.watch = watch  # type: ignore[assignment]
    with lookout, ThreadPoolExecutor(1) as pool:
        yield pool.submit(lookout.wait, [ref], timeout, {ref: version})


def test_a_route_that_was_moved_is_not_ready_as_it_was_before() -> None:
    watch = Shown(route(1, 5, accepted=1))
    with waiting(watch, MAIN, 7) as future:
        for shown in (watch.objects[0], route(2, 7, accepted=1)):
            watch.objects = [shown]
            watch.looked_at()
            assert not future.done()
        watch.objects = [route(2, 9, accepted=2)]
        assert future.result(timeout=60) > 0


def test_a_job_that_is_made_anew_has_not_failed_as_the_one_before() -> None:
    watch = Shown(job("old", 5, "Failed"))
    with waiting(watch, JOB, 7) as future:
        watch.looked_at()
        assert not future.done()
        watch.objects = [job("new", 8, "Complete")]
        assert future.result(timeout=60) > 0


def test_what_is_never_seen_is_said() -> None:
    with waiting(Shown(route(1, 5, accepted=1)), MAIN, 7, timeout=0.1) as future, pytest.raises(NotReady) as caught:
        future.result(timeout=60)
    assert caught.value.message == "HTTPRoute tenant-a/main is not ready after 0 s: what was written last is not seen yet"


def test_nobody_waits_for_a_lookout_that_has_ended() -> None:
    lookout = Lookout(SimpleNamespace(now=lambda: 0.0, node_timeout=15.0))  # type: ignore[arg-type]
    lookout.watch = Shown(route(1, 5, accepted=1))  # type: ignore[assignment]
    with lookout:
        pass
    with pytest.raises(PlatformError) as told:
        lookout.wait([MAIN], 600, {MAIN: 7})
    assert told.value.message == "HTTPRoute tenant-a/main: waiting for it has ended before it was ready; run again"
