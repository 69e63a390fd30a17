# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of objects in the cluster: as declared, endpoints ready, nothing restarted."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    listed,
    plural,
    subject,
)
from ansible_collections.barberpro.platform.plugins.module_utils._compare import asked_fields
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PHASE_ANNOTATION, Ref

KUBECTL_TIMEOUT = 60  # seconds
TOKEN = "@revision@"


def chosen(objects: Sequence[Mapping[str, Any]], phases: Sequence[str], revision: str | None) -> list[dict[str, Any]]:
    """Return the objects of the phases (all when none is named) with the revision's token replaced."""
    text = json.dumps([item for item in objects if not phases or _phase(item) in phases])
    return list(json.loads(text.replace(TOKEN, revision) if revision else text))


def _phase(item: Mapping[str, Any]) -> str:
    """Return the phase annotation of an object."""
    return str(((item.get("metadata") or {}).get("annotations") or {}).get(PHASE_ANNOTATION, ""))


@check(
    "objects",
    lambda params: plural(len(params["objects"]), "object"),
    objects=Param("The objects as declared.", type="list", elements="dict", required=True),
    phases=Param("Only objects of these phases.", type="list", elements="str", default=[]),
    revision=Param("Revision (C(r4)) that replaces the token of a release set."),
    kubectl=Param("Path of the program.", type="path", default="kubectl"),
)
def objects(params: Mapping[str, Any], clients: Clients) -> str:
    """Each object is in the cluster and every asked field has the asked value, read back by kubectl as another client."""
    wanted = chosen(params["objects"], params["phases"], params["revision"])
    if not wanted:
        return "no objects are declared"
    live = {_identity(item): item for item in _kubectl_get(params["kubectl"], wanted, clients)}
    problems = []
    for item in wanted:
        seen = live.get(_identity(item))
        if seen is None:
            problems.append(f"{Ref.of(item)} does not exist")
        elif seen["metadata"].get("deletionTimestamp"):
            problems.append(f"{Ref.of(item)} is being deleted")
        else:
            problems += [f"{Ref.of(item)} {difference}" for difference in asked_fields(item, seen)[:1]]
    if problems:
        raise CheckFailed(
            f"{len(problems)} of {plural(len(wanted), 'object')} not as declared: {listed(problems, 3)}",
            "see who changed it: kubectl get -o yaml --show-managed-fields",
        )
    counts = Counter(item["kind"] for item in wanted)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    return f"{plural(len(wanted), 'object')} as declared, read back by kubectl ({kinds})"


def _identity(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return group, kind, namespace and name."""
    ref = Ref.of(item)
    return ref.group, ref.kind, ref.namespace, ref.name


def _kubectl_get(program: str, wanted: Sequence[Mapping[str, Any]], clients: Clients) -> list[dict[str, Any]]:
    """Read the objects back in one call of kubectl. Raises CheckFailed with kubectl's words."""
    command = [program]
    if clients.kubeconfig:
        command += ["--kubeconfig", clients.kubeconfig]
    if clients.context:
        command += ["--context", clients.context]
    command += ["get", "-f", "-", "-o", "json", "--ignore-not-found"]
    names = [{"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": _place(item)} for item in wanted]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": names})
    try:
        done = subprocess.run(command, input=document, capture_output=True, text=True, timeout=KUBECTL_TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise CheckFailed(f"{program} is not on this runner", "install kubectl, or name it by the parameter kubectl", final=True) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckFailed(f"{program} get failed: {error}", "run it by hand to see why") from error
    if done.returncode != 0:
        raise CheckFailed(f"{program} get failed: {' '.join(done.stderr.split())[:300]}", "run it by hand to see why")
    answer = json.loads(done.stdout or '{"items": []}')
    items = answer["items"] if answer.get("kind") == "List" or "items" in answer else [answer]
    return list(items)


def _place(item: Mapping[str, Any]) -> dict[str, str]:
    """Return name and namespace of an object."""
    return {key: item["metadata"][key] for key in ("name", "namespace") if item["metadata"].get(key)}


@check(
    "endpoints",
    subject("Service {namespace}/{service}"),
    namespace=Param("Namespace.", required=True),
    service=Param("Name of the Service.", required=True),
    minimum=Param("Lowest number of ready endpoints.", type="int", default=1),
)
def endpoints(params: Mapping[str, Any], clients: Clients) -> str:
    """The Service has ready endpoints."""
    namespace, service = params["namespace"], params["service"]
    slices = clients.resources.list("discovery.k8s.io/v1", "EndpointSlice", namespace, labels=f"kubernetes.io/service-name={service}")
    ready: set[str] = set()
    waiting: set[str] = set()
    for entry in slices:
        for endpoint in entry.get("endpoints") or []:
            target = (endpoint.get("targetRef") or {}).get("name") or ",".join(endpoint.get("addresses") or [])
            # Absent means unknown, which counts as ready.
            (waiting if (endpoint.get("conditions") or {}).get("ready") is False else ready).add(target)
    if len(ready) < params["minimum"]:
        if not slices and clients.resources.get(Ref("v1", "Service", namespace, service)) is None:
            raise CheckFailed(f"Service {namespace}/{service} does not exist", "deploy again, and look at the release's objects")
        raise CheckFailed(
            f"Service {namespace}/{service} has {plural(len(ready), 'ready endpoint')}, {params['minimum']} needed, {len(waiting)} not ready",
            f"compare its selector with the pods' labels and see kubectl -n {namespace} get pods",
        )
    return f"{plural(len(ready), 'ready endpoint')} of {service}"


@check(
    "restarts",
    subject("{namespace} {selector}"),
    namespace=Param("Namespace.", required=True),
    selector=Param("Label selector of the pods.", required=True),
    maximum=Param("Highest number of restarts of a pod.", type="int", default=0),
)
def restarts(params: Mapping[str, Any], clients: Clients) -> str:
    """No container of the pods was restarted more often than allowed."""
    namespace, selector = params["namespace"], params["selector"]
    pods = [pod for pod in clients.resources.list("v1", "Pod", namespace, labels=selector) if not pod["metadata"].get("deletionTimestamp")]
    if not pods:
        raise CheckFailed(f"no pod with {selector} in namespace {namespace}", "compare the selector with the pods' labels")
    total = 0
    for pod in pods:
        count, worst = restart_count(pod)
        total += count
        if count > params["maximum"]:
            name = pod["metadata"]["name"]
            raise CheckFailed(
                f"Pod {namespace}/{name} was restarted {plural(count, 'time')}: {worst}",
                f"see kubectl -n {namespace} logs {name} --previous",
            )
    return f"{plural(total, 'restart')} in {plural(len(pods), 'pod')}"


def restart_count(pod: Mapping[str, Any]) -> tuple[int, str]:
    """Return how often the containers of a pod were restarted, and why the most restarted one last ended."""
    status = pod.get("status") or {}
    states = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    if not states:
        return 0, ""
    worst = max(states, key=lambda state: int(state.get("restartCount", 0)))
    last = (worst.get("lastState") or {}).get("terminated") or {}
    why = f"container {worst.get('name')} ended with {last.get('reason', 'an unknown reason')} (exit code {last.get('exitCode', 'unknown')})"
    return sum(int(state.get("restartCount", 0)) for state in states), why
