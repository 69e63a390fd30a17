# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what a tenant's pods can really connect to, by a pod that tries it."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    listed,
    plural,
    subject,
    writing_check,
)
from ansible_collections.barberpro.platform.plugins.module_utils._client import url_path
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, seconds_since
from ansible_collections.barberpro.platform.plugins.module_utils._pods import pod_problem
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref

POLL = 0.3  # seconds between two looks at the probe pod
TIDY_SECONDS = 3.0  # kept of the deadline for the removal of the probe pod
LEFT_SECONDS = 15.0  # whoever waits for a probe pod takes it away at once; one that ended before so long was left by a run that was killed
# What a probe pod takes of its tenant's quota while it runs; those of all workloads run side by side.
PROBE_RESOURCES = {"requests": {"cpu": "5m", "memory": "32Mi"}, "limits": {"cpu": "300m", "memory": "64Mi"}}
RETRIES = 2  # what must be open: a network policy that was just written needs a moment on the node
_SERVICE = re.compile(r"(?P<name>[^.:]+)\.(?P<namespace>[^.:]+)\.svc(\.[^:]+)?:\d+")
REACHED = {"open": "", "refused": " (which refused the connection itself: the network let it through)"}
"""Outcomes of what must be closed that say that packets arrived."""
NO_POD = "had no ready pod, so that nobody could answer"
POLICIES = "compare the tenant's network policies with what is declared: kubectl -n {namespace} get networkpolicies"


@writing_check(
    "reach",
    subject("pods of {namespace}"),
    namespace=Param("Namespace of the probe pod.", required=True),
    image=Param("Image that has the probe (C(python -m barberpro_service.probe)).", required=True),
    labels=Param("Labels of the probe pod, so that the tenant's policies select it.", type="dict", required=True),
    open=Param("HOST:PORT that must accept a connection.", type="list", elements="str", default=[]),
    closed=Param("HOST:PORT that must not.", type="list", elements="str", default=[]),
    service_account=Param("Service account of the probe pod.", default="default"),
    timeout=Param("Seconds to wait for one connection; a lost packet is sent again after one.", type="int", default=2),
    settle=Param("Seconds that the probe waits before its first attempt, where the network's rules come after the pod.", type="int", default=0),
    pull_secrets=Param("Secrets to pull the image with.", type="list", elements="str", default=[]),
)
def reach(params: Mapping[str, Any], clients: Clients) -> str:
    """A pod with the labels of the tenant's workload reaches what is declared open and nothing of what is closed."""
    if not params["open"] and not params["closed"]:
        raise CheckFailed("nothing to try: both open and closed are empty", "name targets as HOST:PORT", final=True)
    namespace = params["namespace"]
    left_out = _idle(params["closed"], clients)
    asked = {**params, "closed": [target for target in params["closed"] if target not in left_out]}
    if not asked["open"] and not asked["closed"]:
        return _judge(asked, "", {}, left_out)
    pod = probe_pod(asked)
    ref = Ref("v1", "Pod", namespace, pod["metadata"]["name"])
    _sweep(namespace, clients)
    _create(pod, clients)
    try:
        log = _result(ref, clients)
    finally:
        _remove(ref, clients)
    seen = _seen(log)
    # A neighbour may change its revision, or lose its last pod, while this check runs.
    doubtful = [target for target in asked["closed"] if _doubtful(seen.get(target, {}))]
    left_out |= {target: "was removed meanwhile" for target in doubtful if _has_gone(target, params, clients)} | _idle(doubtful, clients)
    return _judge(asked, log, seen, left_out)


def probe_pod(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the probe pod: restricted, tiny, never ready (so that no Service sends customers to it), run once."""
    command = ["python", "-m", "barberpro_service.probe", "--timeout", str(params["timeout"]), "--retries", str(RETRIES)]
    settle = params.get("settle") or 0
    command += ["--settle", str(settle)] if settle else []
    for kind in ("open", "closed"):
        for target in params[kind]:
            command += [f"--{kind}", target]
    labels = {str(key): str(value) for key, value in params["labels"].items()}
    deadline = 30 + settle + (params["timeout"] + 1) * (RETRIES + 1)  # the probe tries all targets side by side
    container = {
        "name": "probe",
        "image": params["image"],
        "command": command,
        "resources": PROBE_RESOURCES,
        # A file that nobody makes: the pod stays not ready while it runs.
        "readinessProbe": {"exec": {"command": ["python", "-c", "raise SystemExit(1)"]}, "initialDelaySeconds": 60, "periodSeconds": 60},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"reach-{secrets.token_hex(4)}",
            "namespace": params["namespace"],
            "labels": {**labels, "app.kubernetes.io/managed-by": PREFIX, f"{PREFIX}/probe": "reach"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": deadline,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "serviceAccountName": params["service_account"],
            "imagePullSecrets": [{"name": name} for name in params["pull_secrets"]],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def _create(pod: dict[str, Any], clients: Clients) -> None:
    """Create the probe pod. Pods of the revision before that are still ending may have its room in the quota; the gate's deadline bounds the waiting."""
    while True:
        try:
            clients.resources.create(pod)
        except ApiError as error:
            if error.status != 403 or "exceeded quota" not in error.server_message:
                raise
            try:
                clients.leave_time(TIDY_SECONDS)
            except CheckFailed:
                hint = f"see which pods have the room (kubectl -n {pod['metadata']['namespace']} get pods), or give the tenant more by quota_overrides"
                raise CheckFailed(error.message, hint, final=True) from error
            time.sleep(POLL)
        else:
            return


def _result(ref: Ref, clients: Clients) -> str:
    """Wait until the probe has ended and return its log. Raises CheckFailed; the gate's deadline bounds the waiting."""
    while True:
        pod = clients.resources.get(ref)
        if pod is None:
            raise CheckFailed(f"{ref} was removed while it ran", "try again")
        status = pod.get("status") or {}
        states = [entry for entry in status.get("containerStatuses") or [] if entry.get("name") == "probe"]
        state = states[0].get("state") or {} if states else {}
        if "terminated" in state or status.get("phase") == "Failed":
            if status.get("reason"):
                raise CheckFailed(f"{ref}: {status['reason']}: {status.get('message', 'no message')}", "try again")
            return _log(ref, clients)
        problem = pod_problem(pod, now=clients.client.now(), node_seconds=clients.client.node_timeout)
        if problem is not None and problem.outcome == FAILED:
            raise CheckFailed(problem.reason, "check the probe's image and the room in quota and nodes", final=True)
        clients.leave_time(TIDY_SECONDS)
        time.sleep(POLL)


def _sweep(namespace: str, clients: Clients) -> None:
    """Remove probe pods that a killed run left behind."""
    for pod in clients.resources.list("v1", "Pod", namespace, labels=f"{PREFIX}/probe=reach"):
        if seconds_since(_ended(pod), clients.client.now()) > LEFT_SECONDS:
            _remove(Ref("v1", "Pod", namespace, pod["metadata"]["name"]), clients)


def _ended(pod: Mapping[str, Any]) -> str | None:
    """Return when a probe pod ended, None when it has not."""
    states = [entry.get("state") or {} for entry in (pod.get("status") or {}).get("containerStatuses") or []]
    return next((state["terminated"].get("finishedAt") for state in states if "terminated" in state), None)


def _log(ref: Ref, clients: Clients) -> str:
    """Return the probe's log."""
    path = url_path("api", "v1", "namespaces", ref.namespace, "pods", ref.name, "log", query={"container": "probe"})
    answer = clients.client.call("GET", path, target=str(ref), verb="log", accept="*/*")
    return answer.data.decode("utf-8", "replace")


def _remove(ref: Ref, clients: Clients) -> None:
    """Remove the probe pod whatever happened before; a failure to do so must not hide that."""
    try:
        clients.resources.delete(ref)
    except ApiError as error:
        raise CheckFailed(f"{ref} cannot be removed: {error.message}", f"kubectl -n {ref.namespace} delete pod {ref.name}") from error
    except PlatformError:
        return


def _seen(log: str) -> dict[str, Mapping[str, Any]]:
    """Return what the probe said of each target."""
    seen: dict[str, Mapping[str, Any]] = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "target" in entry:
            seen[str(entry["target"])] = entry
    return seen


def _idle(targets: list[str], clients: Clients) -> dict[str, str]:
    """Return the Services among targets that have no ready pod, with why they prove nothing: nobody could answer, whatever the network lets through."""
    services = [(target, service) for target in targets if (service := _SERVICE.fullmatch(target))]

    def ready(item: tuple[str, re.Match[str]]) -> bool:
        name, namespace = item[1]["name"], item[1]["namespace"]
        slices = clients.resources.list("discovery.k8s.io/v1", "EndpointSlice", namespace, labels=f"kubernetes.io/service-name={name}")
        # Absent means unknown, which counts as ready.
        if any((endpoint.get("conditions") or {}).get("ready") is not False for part in slices for endpoint in part.get("endpoints") or []):
            return True
        service = clients.resources.get(Ref("v1", "Service", namespace, name))
        # Of one that is not there the name says so, and another name's has no endpoints.
        return service is None or (service.get("spec") or {}).get("type") == "ExternalName"

    answers = checked(clients.client.map(ready, services)) if services else []
    return {target: NO_POD for (target, _service), answer in zip(services, answers, strict=True) if not answer}


def _doubtful(entry: Mapping[str, Any]) -> bool:
    """Whether what the probe saw may come of a Service that has gone: its name did not resolve, or the connection was rejected on the way."""
    return entry.get("actual") not in REACHED and (entry.get("actual") != "closed" or "no answer" not in str(entry.get("reason")))


def _has_gone(target: str, params: Mapping[str, Any], clients: Clients) -> bool:
    """Whether a target is a neighbour's Service that is not there any more."""
    service = _SERVICE.fullmatch(target)
    if service is None or service["namespace"] == params["namespace"] or not service["namespace"].startswith("tenant-"):
        return False
    return clients.resources.get(Ref("v1", "Service", service["namespace"], service["name"])) is None


def _judge(params: Mapping[str, Any], log: str, seen: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, str]) -> str:
    """Compare what the probe saw with what was declared; ``left_out`` could not be tried and need not. Raises CheckFailed naming every wrong target."""
    missing = [target for target in [*params["open"], *params["closed"]] if target not in seen]
    if missing:
        tail = " ".join(log.split())[-200:] or "nothing"
        raise CheckFailed(f"the probe said nothing about {listed(missing)}; its log: {tail}", "check the probe's image")
    shut = [f"{target} ({seen[target].get('reason', 'no reason')})" for target in params["open"] if seen[target].get("actual") != "open"]
    closed = [target for target in params["closed"] if target not in left_out]
    leaks = [f"{target}{REACHED[seen[target]['actual']]}" for target in closed if seen[target].get("actual") in REACHED]
    # A name that does not resolve proves no isolation, and neither does a refusal of which an image's older probe does not say whose it is.
    unsure = [f"{target} ({seen[target].get('reason', 'no reason')})" for target in closed if _proves_nothing(seen[target])]
    problems = [f"cannot reach {listed(shut)}, which is declared open"] if shut else []
    problems += [f"reaches {listed(leaks)}, which must be closed"] if leaks else []
    problems += [f"could not try {listed(unsure)}"] if unsure else []
    if problems:
        raise CheckFailed(f"a pod of {params['namespace']} {' and '.join(problems)}", POLICIES.format(namespace=params["namespace"]))
    parts = [f"{plural(len(params['open']), 'target')} open"] if params["open"] else []
    parts += [f"{plural(len(closed), 'target')} closed"] if closed else []
    tried = f"{' and '.join(parts)} as declared, tried from a pod" if parts else "nothing was left to try"
    return "; ".join([tried, *(f"{target} {why}" for target, why in left_out.items())])


def _proves_nothing(entry: Mapping[str, Any]) -> bool:
    """Whether what the probe saw of a target that must be closed is neither that it is nor that it was reached."""
    return entry.get("actual") not in REACHED and (not entry.get("ok") or entry.get("reason") == "Connection refused")
