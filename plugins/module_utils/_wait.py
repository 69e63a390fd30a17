# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until objects are ready, or until one of them has failed for good, and bring back the evidence."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, PROGRESS, READY, Readiness, last_seen, version_of
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess, own_pods
from ansible_collections.barberpro.platform.plugins.module_utils._redact import redact_line
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._watch import Topic, Watch

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job"})
_WAITABLE = WORKLOADS | {"HTTPRoute", "ResourceQuota", "Namespace", "Pod", "PersistentVolumeClaim"}
LOG_LINES = 10
# Ages count (how long a pod has had no node), so we look again also when nothing has happened.
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Failure:
    """An object that is not ready: its last state in one clause, whether that is final, warning events and the log's last lines."""

    ref: Ref
    reason: str
    final: bool
    events: tuple[str, ...] = ()
    log: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """Return the failure as modules report it."""
        return {"object": str(self.ref), "reason": self.reason, "final": self.final, "events": list(self.events), "log": list(self.log)}


@dataclass(frozen=True)
class Seen:
    """What was seen at one moment, by kind."""

    objects: dict[str, list[dict[str, Any]]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        return self.objects.get(kind, [])


class NotReady(PlatformError):
    """Objects did not become ready; ``failures`` and the detail of the same name say why."""

    def __init__(self, failures: Sequence[Failure], seconds: float) -> None:
        self.failures = list(failures)
        first = failures[0]
        more = f" (and {len(failures) - 1} more objects)" if len(failures) > 1 else ""
        log = f"; last log line: {spoken(first.log[-1])}" if first.log else ""
        # What is not final has no cause of its own: a probe that fails, for example, is only in the events.
        late, warning = ("", "") if first.final else (f" after {seconds:.0f} s", f"; last warning: {telling(first.events)}" if first.events else "")
        super().__init__(f"{first.ref} is not ready{late}: {first.reason}{warning}{log}{more}", failures=[item.shown() for item in failures])


def spoken(line: str, most: int = 400) -> str:
    """Return what a line of a log says, in at most ``most`` characters: of a record in JSON what happened and why, else all of it."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if isinstance(record, dict):
        found = [next((str(record[key]) for key in keys if record.get(key)), "") for keys in (("event", "message", "msg"), ("reason", "error", "err"))]
        line = ": ".join(part for part in found if part) or line
    return line if len(line) <= most else f"{line[: most - 1]}…"


def telling(events: Sequence[str]) -> str:
    """Return the last event that says something: behind each, kubelets repeat that it was so ("Failed: Error: ImagePullBackOff")."""
    return next((event for event in reversed(events) if not event.startswith("Failed: Error: ")), events[-1])


def has_to_become_ready(ref: Ref) -> bool:
    """Return whether an object is ready a while after it was written: workloads and the like, and of resources that are not Kubernetes' own whatever
    says so by its conditions."""
    group = ref.api_version.rpartition("/")[0]
    return ref.kind in _WAITABLE or ("." in group and not group.endswith(".k8s.io"))


def topics_for(refs: Iterable[Ref]) -> list[Topic]:
    """Return what has to be followed to judge these objects."""
    topics = {Topic(ref.api_version, ref.kind, ref.namespace) for ref in refs}
    for namespace in {ref.namespace for ref in refs if ref.kind in WORKLOADS}:
        topics |= {Topic("v1", "Pod", namespace), Topic("v1", "Event", namespace, fields="type=Warning")}
        if any(ref.kind == "Deployment" and ref.namespace == namespace for ref in refs):
            topics.add(Topic("apps/v1", "ReplicaSet", namespace))
    return sorted(topics, key=repr)


def wait_ready(client: Client, refs: Iterable[Ref], timeout: float, versions: Mapping[Ref, int] = MappingProxyType({})) -> float:
    """Wait until all objects are ready, none of them as it was before it had its version in ``versions``. Returns the seconds it took.

    Raises NotReady as soon as one has failed for good, or after ``timeout`` seconds, with the state of all that are not ready.
    """
    wanted = [ref for ref in refs if has_to_become_ready(ref)]
    started = time.monotonic()
    if not wanted:
        return 0.0
    begun = client.now()
    with Watch(client, topics_for(wanted)) as watch:
        while True:
            seen = Seen({kind: watch.of(kind) for kind in watch.kinds()})
            elapsed = time.monotonic() - started
            if is_ready(client, seen, wanted, begun, elapsed, timeout, versions):
                return elapsed
            watch.wait(min(LOOK_SECONDS, timeout - elapsed))


def is_ready(
    client: Client, seen: Seen, wanted: list[Ref], begun: float, elapsed: float, timeout: float, versions: Mapping[Ref, int]
) -> bool:
    """Return whether all of these objects are ready after ``elapsed`` seconds of waiting, which began at ``begun`` (the server's clock).

    One that is seen at an earlier version than it has in ``versions`` is not. Raises NotReady when one has failed for good, or the time is up.
    """
    states = _look(client, seen, wanted, begun, versions)
    waiting = {ref: state for ref, state in states.items() if state[0].outcome != READY}
    if not waiting:
        return True
    failed = {ref: state for ref, state in waiting.items() if state[0].outcome == FAILED}
    if failed or elapsed >= timeout:
        # What failed for good comes first; the others are shown too.
        order = [*failed, *(ref for ref in waiting if ref not in failed)]
        raise NotReady([_evidence(client, seen, ref, *waiting[ref]) for ref in order], elapsed)
    return False


def _look(client: Client, seen: Seen, wanted: list[Ref], begun: float, versions: Mapping[Ref, int]) -> dict[Ref, tuple[Readiness, dict[str, Any] | None]]:
    """Return the readiness of each object, and the object where there is one."""
    live = {Ref.of(obj): obj for kind in {ref.kind for ref in wanted} for obj in seen.of(kind)}
    # Warnings of before this wait may be about what has been mended since.
    recent = [event for event in seen.of("Event") if last_seen(event) >= _stamp(begun - 5)]
    related = Related(seen.of("Pod"), seen.of("ReplicaSet"), recent, client.now(), client.node_timeout)
    states: dict[Ref, tuple[Readiness, dict[str, Any] | None]] = {}
    for ref in wanted:
        if ref not in live:
            states[ref] = Readiness(PROGRESS, "it does not exist (yet)"), None
        elif version_of(live[ref]) < versions.get(ref, 0):
            states[ref] = Readiness(PROGRESS, "what was written last is not seen yet"), None
        else:
            states[ref] = assess(live[ref], related), live[ref]
    return states


def _stamp(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


def _is_ended(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") == "Failed"


def _is_unready(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod runs and its probes do not succeed (yet)."""
    status = pod.get("status") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}
    return status.get("phase") == "Running" and conditions.get("Ready") != "True"


def _evidence(client: Client, seen: Seen, ref: Ref, state: Readiness, obj: dict[str, Any] | None) -> Failure:
    names = {ref.name}
    log: tuple[str, ...] = ()
    pod, container = state.pod, state.container
    if obj is not None and ref.kind in WORKLOADS:
        pods = own_pods(obj, Related(seen.of("Pod"), seen.of("ReplicaSet")))
        names |= {str(item["metadata"]["name"]) for item in pods}
        silent = [item for item in pods if _is_ended(item)] or [item for item in pods if _is_unready(item)]
        if pod is None and silent:
            newest = max(silent, key=lambda item: str(item["metadata"].get("creationTimestamp")))
            pod = str(newest["metadata"]["name"])
    if pod is not None:
        log = tail(client, ref.namespace, pod, container)
    events = [event for event in seen.of("Event") if (event.get("involvedObject") or {}).get("name") in names]
    events.sort(key=last_seen)
    lines = tuple(f"{event.get('reason')}: {event.get('message')}" for event in events[-5:])
    return Failure(ref, state.reason, state.outcome == FAILED, lines, log)


def tail(client: Client, namespace: str, pod: str, container: str | None = None) -> tuple[str, ...]:
    """Return the last lines a container has written, without passwords and tokens, of its previous run when it has crashed; none when there is no log."""
    resources = Resources(client)
    for previous in ("true", None):
        query = {"container": container, "previous": previous, "tailLines": LOG_LINES, "limitBytes": 16384}
        path = resources.path("v1", "Pod", namespace, pod, "log", query=query)
        try:
            answer = client.call("GET", path, accept="*/*", target=f"log of Pod {namespace}/{pod}", verb="read", deadline=time.monotonic() + 5)
        except PlatformError as error:
            # A log is extra evidence: without it (never started, not permitted) the failure itself must still be told.
            if isinstance(error, ApiError):
                continue
            break
        lines = tuple(redact_line(line) for line in answer.data.decode("utf-8", "replace").splitlines() if line.strip())
        if lines:
            return lines
    return ()
