# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one pod to its end and take what its containers said, one line of JSON each; nothing of it is left."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.barberpro.platform.plugins.module_utils._client import url_path
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._lease import is_orphan
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED
from ansible_collections.barberpro.platform.plugins.module_utils._pods import pod_problem
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

POLL = 0.3  # seconds between two looks at the pod
GONE_SECONDS = 30.0  # for what a killed run has left to go away


class Made(NamedTuple):
    """What this run made. It is known by its uid: of a run that was killed, a task may still be at work, and the next run's objects have its names."""

    ref: Ref
    uid: str | None


def run_pod(
    resources: Resources, objects: Sequence[dict[str, Any]], label: tuple[str, str], key: str, what: str, seconds: float
) -> list[dict[str, Any]]:
    """Create ``objects`` (the last is the pod), wait up to ``seconds``, and return what the containers said, in their order.

    A container says ``{"KEY": {...}}`` in a line of its log; its name is added as ``container``. What a killed run has left under the same
    ``label`` goes first, and the objects go at the end whatever happened. Raises PlatformError whose sentence begins with ``what``.
    """
    _sweep(resources, objects, label)
    made: list[Made] = []
    try:
        for obj in objects:
            created = resources.create(obj)
            made.append(Made(Ref.of(created), created["metadata"].get("uid")))
        return _said(resources, made[-1], key, what, seconds)
    finally:
        for ref, uid in reversed(made):
            resources.delete(ref, uid=uid)


def _sweep(resources: Resources, objects: Sequence[dict[str, Any]], label: tuple[str, str]) -> None:
    """Remove what a killed run has left, and wait until it is gone."""
    for obj in reversed(objects):
        ref = Ref.of(obj)
        for found in resources.list(ref.api_version, ref.kind, ref.namespace, labels="=".join(label)):
            left = Ref.of(found)
            resources.delete(left)
            end = time.monotonic() + GONE_SECONDS
            while resources.get(left) is not None:
                if time.monotonic() > end:
                    raise PlatformError(f"{left}, left by a run that was killed, does not go away; look at its finalizers")
                time.sleep(POLL)


def _said(resources: Resources, made: Made, key: str, what: str, seconds: float) -> list[dict[str, Any]]:
    ref, uid = made
    end = time.monotonic() + seconds
    while True:
        if is_orphan():
            raise PlatformError(f"{what}: the playbook of this run was killed")
        pod = resources.get(ref)
        if pod is None or pod["metadata"].get("uid") != uid:
            raise PlatformError(f"{what}: {ref} was removed while it ran; run again")
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return _results(resources, ref, pod, key, what)
        problem = pod_problem(pod, now=resources.client.now(), node_seconds=resources.client.node_timeout)
        if problem is not None and problem.outcome == FAILED:
            raise PlatformError(f"{what}: {problem.reason}")
        if time.monotonic() > end:
            raise PlatformError(f"{what} within {seconds:g} s: {problem.reason if problem else f'{ref} still runs'}")
        time.sleep(POLL)


def _results(resources: Resources, ref: Ref, pod: Mapping[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    said = []
    for status in [*(pod["status"].get("initContainerStatuses") or []), *(pod["status"].get("containerStatuses") or [])]:
        ended = (status.get("state") or {}).get("terminated")
        if not ended:
            continue
        log = _log(resources, ref, str(status["name"]))
        lines = [line for line in log.splitlines() if line.startswith(f'{{"{key}":')]
        if not lines:
            tail = " ".join(log.split())[-300:] or str(ended.get("reason"))
            raise PlatformError(f"{what}: container {status['name']} ended with code {ended.get('exitCode')}: {tail}")
        said.append({**json.loads(lines[-1])[key], "container": status["name"]})
    if not said:
        raise PlatformError(f"{what}: {ref} ended without a word ({pod['status'].get('message') or 'no message'})")
    return said


def _log(resources: Resources, ref: Ref, container: str) -> str:
    path = url_path("api", "v1", "namespaces", ref.namespace, "pods", ref.name, "log", query={"container": container})
    answer = resources.client.call("GET", path, target=str(ref), verb="log", accept="*/*")
    return answer.data.decode("utf-8", "replace")
