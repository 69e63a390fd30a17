# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a pod does not run: pure functions of what the API server says about it and its events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, NODE_SECONDS, PROGRESS, Readiness, seconds_since

# How often a container may crash before it counts as failed for good. The second restart comes about 12 s after the first start.
RESTART_LIMIT = 2
# Registries of the node itself: one that is not there does not come.
_LOOPBACK = ("localhost/", "localhost:", "127.0.0.1:")
# A Secret or ConfigMap may be written a moment after the pod that uses it; one that a volume is made of is asked for anew more slowly.
CONFIG_SECONDS, MOUNT_SECONDS = 5.0, 15.0

_PULL = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
# What a registry answers when trying again does not help. Time-outs, refused connections and 5xx are not among them.
_PULL_FINAL = re.compile(
    r"manifest unknown|name unknown|not found|NotFound|repository does not exist|invalid reference format|InvalidImageName|"
    r"pull access denied|insufficient_scope|unauthorized|authentication required|no such host|no match for platform|ErrImageNeverPull|"
    r"layers and diffIDs don't match|401 Unauthorized|403 Forbidden|failed to verify certificate|x509: |SignatureValidationFailed",
)
_PREEMPTION = re.compile(r"(,? no new claims to deallocate,?)?( preemption:.*)?$", re.DOTALL)
# Codes only as a runtime writes them ("status code: 503", "unexpected status from HEAD request to URL: 503 Service Unavailable"): a version has such
# numbers as well.
_PULL_TRANSIENT = re.compile(
    r"timeout|timed out|deadline exceeded|connection refused|connection reset|\bstatus(?: code)?:? 5\d\d\b|\bstatus\b.*?: 5\d\d [A-Z]|EOF|TLS handshake|"
    r"server misbehaving",
)
_URL = re.compile(r"https?://[^\s\"]+?(?=:?[\s\"]|$)")
# What a kubelet or a runtime that is busy, or is being restarted, says; its next try may well go better.
_START_TRANSIENT = re.compile(
    r"failed to sync|timed out|deadline exceeded|is reserved|connection refused|connection reset|error reading from server|code = Unavailable|"
    r"ttrpc: closed|transport is closing|context canceled|: EOF$"
)
# What has to be written by somebody; a storage driver that a new node does not know yet ("driver name ... not found") comes by itself.
_MOUNT_FINAL = re.compile(r"(secret|configmap) \"[^\"]*\" not found|references non-existent (secret|config) key")


def pod_problem(
    pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = (), now: float | None = None, node_seconds: float = NODE_SECONDS
) -> Readiness | None:
    """Return why a pod is not (yet) fine, failed or in progress; None when nothing is wrong with it.

    It may be without a node for ``node_seconds``; ``now`` is the server's time (epoch seconds).
    """
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    found = _unscheduled(name, status, now, node_seconds)
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    problems = [problem for item in statuses if (problem := _container_problem(name, pod, item, now)) is not None]
    if found is not None:
        problems.append(found)
    mount = _mount_problem(name, pod, events, now)
    if mount is not None:
        problems.append(mount)
    problems.sort(key=lambda problem: problem.outcome != FAILED)
    return problems[0] if problems else None


def worst(
    pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]] = (), now: float | None = None, node_seconds: float = NODE_SECONDS
) -> Readiness | None:
    """Return the first final problem of these pods, else the first one that may heal, else None; see pod_problem."""
    problems = []
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        problem = pod_problem(pod, events, now, node_seconds)
        if problem is not None and problem.outcome == FAILED:
            return problem
        if problem is not None:
            problems.append(problem)
    return problems[0] if problems else None


def _unscheduled(name: str, status: Mapping[str, Any], now: float | None, node_seconds: float) -> Readiness | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
            # The scheduler appends what preemption would not help with; the shortage is what comes before.
            shortage = _PREEMPTION.sub("", str(condition.get("message") or "no reason given")).rstrip("., ")
            final = seconds_since(condition.get("lastTransitionTime"), now) >= node_seconds
            return Readiness(FAILED if final else PROGRESS, f"pod {name} cannot be scheduled: {shortage}")
    return None


def _container_problem(name: str, pod: Mapping[str, Any], item: Mapping[str, Any], now: float | None) -> Readiness | None:
    waiting = (item.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    container = str(item.get("name"))
    who = f"pod {name} container {container}"
    if reason in _PULL:
        return _pull_problem(who, _image(pod, container) or str(item.get("image")), reason, message)
    if reason == "CrashLoopBackOff":
        restarts = int(item.get("restartCount") or 0)
        why = _last_end(item, pod, container)
        text = f"{who} crashes: {why}, restarted {restarts} time{'' if restarts == 1 else 's'}"
        return Readiness(FAILED if restarts >= RESTART_LIMIT else PROGRESS, text, name, container)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"):
        # A kubelet starts a container again and again; what is missing may come a moment later, a wrong command does not heal.
        final = not _START_TRANSIENT.search(message) and seconds_since((pod.get("status") or {}).get("startTime"), now) >= CONFIG_SECONDS
        return Readiness(FAILED if final else PROGRESS, f"{who} cannot be started: {message or reason}")
    return None


def _pull_problem(who: str, image: str, reason: str, message: str) -> Readiness:
    text = f"{reason} {_unnamed(message, image)}"
    # "not found" is final also when the sentence says that the pull is being backed off; a time-out wins over both.
    final = bool(_PULL_FINAL.search(text)) and not _PULL_TRANSIENT.search(text)
    if image.startswith(_LOOPBACK) and "connection refused" in text:
        final, message = True, "the node has no registry of its own (connection refused)"
    if "could not fetch content descriptor" in text and "not found" in text:
        why = "the registry has lost a layer of it (push it again)"
    elif "manifest unknown" in text or "not found" in text or "NotFound" in text:
        why = "manifest unknown (the registry does not have it)"
    elif reason == "InvalidImageName":
        why = "the name is not valid"
    else:
        why = message.rsplit("rpc error: ", 1)[-1] or reason
    return Readiness(FAILED if final else PROGRESS, f"{who}: image {image} cannot be pulled: {why if final else message or reason}")


def _unnamed(message: str, image: str) -> str:
    """Return a message without the reference of the image, with or without what the runtime adds to it, and without addresses: names say nothing."""
    name = re.compile(rf"(?<![\w.@-])(?:[^\s\"]*/)?{re.escape(image)}(?::latest)?(?=[\s\":,]|$)")
    return name.sub("", _URL.sub("", message))


def _image(pod: Mapping[str, Any], container: str) -> str | None:
    """Return the image as it was asked for; the status shows what the runtime made of it."""
    spec = pod.get("spec") or {}
    for item in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if item.get("name") == container:
            return str(item.get("image"))
    return None


def _last_end(item: Mapping[str, Any], pod: Mapping[str, Any], container: str) -> str:
    ended = (item.get("lastState") or {}).get("terminated") or (item.get("state") or {}).get("terminated") or {}
    if ended.get("reason") == "OOMKilled":
        for spec in (pod.get("spec") or {}).get("containers") or []:
            if spec.get("name") == container:
                limit = ((spec.get("resources") or {}).get("limits") or {}).get("memory")
                return f"killed for using more memory than its limit ({limit})" if limit else "killed, the node had no memory left"
    code = ended.get("exitCode")
    return f"exit code {code}" if code is not None else "its start failed"


def _mount_problem(name: str, pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now: float | None) -> Readiness | None:
    uid = pod["metadata"].get("uid")
    if (pod.get("status") or {}).get("phase") != "Pending":
        return None
    for event in events:
        if event.get("reason") == "FailedMount" and (event.get("involvedObject") or {}).get("uid") == uid:
            wrong = _MOUNT_FINAL.search(str(event.get("message")))
            final = bool(wrong) and seconds_since((pod.get("status") or {}).get("startTime"), now) >= MOUNT_SECONDS
            return Readiness(FAILED if final else PROGRESS, f"pod {name} cannot mount a volume: {event.get('message')}")
    return None
