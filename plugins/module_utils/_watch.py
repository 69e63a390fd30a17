# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow objects as they change: list once, then watch; list again when the server has forgotten our place (410 Gone)."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response

# The server ends a watch after this long and we begin it anew where it ended; a dead connection is noticed a little later.
WATCH_SECONDS = 60


@dataclass(frozen=True)
class Topic:
    """What to follow: a kind in a namespace, narrowed by selectors."""

    api_version: str
    kind: str
    namespace: str
    labels: str | None = None
    fields: str | None = None


class Watcher(threading.Thread):
    """Keeps ``objects`` (by uid) of one topic up to date and puts its topic into ``signals`` whenever they have changed.

    ``error`` holds what ended it before it was stopped.
    """

    def __init__(self, client: Client, topic: Topic, signals: queue.Queue[Topic], begin: threading.Event) -> None:
        super().__init__(daemon=True, name=f"watch {topic.kind} {topic.namespace}")
        self.client = client
        self.topic = topic
        self.signals = signals
        self.begin = begin
        self.objects: dict[str, dict[str, Any]] = {}
        self.error: PlatformError | None = None
        self.listed = threading.Event()
        self._halt = threading.Event()
        self._response: Any = None
        # Seconds that the server asked to wait with its last refusal.
        self._asked = 0.0
        self._path = Resources(client).path

    def run(self) -> None:
        """List, then watch, until stopped or refused for good."""
        try:
            version = self._list()
            # What the list shows may be enough; then no watch is begun.
            self.begin.wait()
            failures = 0
            while not self._halt.is_set():
                try:
                    version, fresh = self._watch(version)
                    failures = 0 if fresh else failures
                except ApiError as error:
                    if error.status not in (410, 429, 500, 502, 503, 504) and not self.client.speaks_too_soon(error.status):
                        raise
                    failures += 1
                    version = ""
                except (self.client.http.exceptions.HTTPError, OSError, ValueError):
                    # The connection broke (or stop() broke it): go on where we were, after a breath.
                    failures += 1
                if failures:
                    self._halt.wait(max(self._asked, min(5.0, 0.2 * 2 ** min(failures, 5))))
                    self._asked = 0.0
                if not version and not self._halt.is_set():
                    version = self._list()
        except PlatformError as error:
            self.error = error
        except (AttributeError, KeyError, TypeError) as error:
            # An answer in another shape. Nobody would hear of it: what is followed would look as if nothing changed any more.
            self.error = PlatformError(
                f"{self.topic.kind} in namespace {self.topic.namespace}: what the API server sends cannot be followed ({type(error).__name__}: {error}); "
                "is there something between it and here that changes answers?"
            )
        finally:
            self.listed.set()
            self.signals.put(self.topic)

    def stop(self) -> None:
        """End the watch now, also while it waits for the server."""
        self._halt.set()
        self.begin.set()
        response = self._response
        if response is not None:
            try:
                response.shutdown()
            except (ValueError, RuntimeError, OSError):  # it has just ended by itself
                return

    def _query(self, **more: Any) -> str:
        topic = self.topic
        query = {"labelSelector": topic.labels, "fieldSelector": topic.fields, **more}
        return self._path(topic.api_version, topic.kind, topic.namespace, query=query)

    def _list(self) -> str:
        target = f"{self.topic.kind} in namespace {self.topic.namespace}"
        page = self.client.request("GET", self._query(), target=target, verb="list")
        kind = {"apiVersion": self.topic.api_version, "kind": self.topic.kind}
        self.objects = {item["metadata"]["uid"]: {**kind, **_slim(item)} for item in page.get("items") or []}
        self.listed.set()
        self.signals.put(self.topic)
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> tuple[str, bool]:
        """Follow changes from ``version`` until the server ends the watch. Returns where it ended and whether anything came."""
        path = self._query(watch="true", resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds=WATCH_SECONDS)
        response = self.client.send("GET", path, timeout=WATCH_SECONDS + 15, stream=True)
        self._response = response
        fresh = False
        try:
            if self._halt.is_set():  # stop() came before there was something that it could end
                return version, fresh
            if response.status >= 300:
                answer = Response(response.status, {key.lower(): value for key, value in response.headers.items()}, response.read())
                self._asked = answer.retry_after
                raise ApiError(answer.status, answer.json(), verb="watch", target=f"{self.topic.kind} in namespace {self.topic.namespace}")
            for event in _events(response):
                if self._halt.is_set():
                    break
                version = self._take(event, version)
                fresh = True
        finally:
            self._response = None
            response.close()
        return version, fresh

    def _take(self, event: dict[str, Any], version: str) -> str:
        obj = event.get("object") or {}
        if event.get("type") == "ERROR":
            target = f"{self.topic.kind} in namespace {self.topic.namespace}"
            raise ApiError(int(obj.get("code") or 500), obj, verb="watch", target=target)
        version = str(obj["metadata"].get("resourceVersion") or version)
        if event.get("type") == "BOOKMARK":
            return version
        objects = dict(self.objects)
        if event.get("type") == "DELETED":
            objects.pop(obj["metadata"]["uid"], None)
        else:
            objects[obj["metadata"]["uid"]] = _slim(obj)
        self.objects = objects  # replaced, not changed: readers are other threads
        self.signals.put(self.topic)
        return version


def _slim(obj: dict[str, Any]) -> dict[str, Any]:
    """Leave out who manages which field: readiness does not ask, and it is the half of an object."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _events(response: Any) -> Iterator[dict[str, Any]]:
    """Yield the events of a watch, one JSON document a line."""
    rest = b""
    for piece in response.stream(amt=65536):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


class Watch:
    """Several topics followed side by side. Use as a context manager; all threads have ended after it."""

    def __init__(self, client: Client, topics: list[Topic]) -> None:
        self.signals: queue.Queue[Topic] = queue.Queue()
        self.begin = threading.Event()
        self.client = client
        self.watchers = {topic: Watcher(client, topic, self.signals, self.begin) for topic in topics}

    def __enter__(self) -> Watch:
        for watcher in self.watchers.values():
            watcher.start()
        for watcher in self.watchers.values():
            watcher.listed.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        for watcher in self.watchers.values():
            watcher.stop()
        end = time.monotonic() + 2
        for watcher in self.watchers.values():
            watcher.join(max(0.0, end - time.monotonic()))

    def follow(self, topic: Topic) -> None:
        """Follow one more topic from now on; nothing happens when it is followed already."""
        if topic not in self.watchers:
            watcher = Watcher(self.client, topic, self.signals, self.begin)
            self.watchers = {**self.watchers, topic: watcher}  # replaced, not changed: readers are other threads
            watcher.start()

    def kinds(self) -> set[str]:
        """Return the kinds that are followed."""
        return {topic.kind for topic in self.watchers}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the present objects of a kind. Raises what ended its watcher."""
        found: list[dict[str, Any]] = []
        for topic, watcher in self.watchers.items():
            if topic.kind == kind:
                if watcher.error is not None:
                    raise watcher.error
                found.extend(watcher.objects.values())
        return found

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after ``seconds``."""
        self.begin.set()
        try:
            self.signals.get(timeout=max(0.01, seconds))
            while True:  # what has come in the meantime is looked at in one go
                self.signals.get_nowait()
        except queue.Empty:
            return
