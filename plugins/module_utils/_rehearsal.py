# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearse migrations: a pod in the preflight namespace runs the new images' migrations and the serving images' queries in a scratch schema."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._migrations import lint
from ansible_collections.barberpro.platform.plugins.module_utils._pod_run import run_pod
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._statements import loses, plain
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction

LABEL = f"{PREFIX}/rehearsal"
SHARED = "/rehearsal"
WHAT = "the migrations could not be rehearsed"
KEYS = ("host", "port", "dbname", "schema", "sslmode", "user", "password")


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Rehearse and return the module's result. Raises PlatformError when it cannot be done."""
    nothing: dict[str, Any] = {key: [] for key in ("tried", "statements", "broken", "failures", "findings", "losing")}
    result: dict[str, Any] = {"changed": False, "serving": options["serving"], **nothing}
    if check_mode:
        return result
    resources = Resources(client)
    transaction = Transaction(resources, str(options["name"]), options.get("run"))
    namespace = str(options["namespace"])
    objects = [_secret(options, namespace), _pod(options, namespace)]
    with transaction.watching():
        said = run_pod(resources, objects, (LABEL, str(options["name"])), "rehearsal", WHAT, float(options["wait_timeout"]))
    return result | _judge(said, options["services"])


def _judge(said: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the containers found out, with what the statements do."""
    names = {_suffix(service): str(service["name"]) for service in services}
    migrating = [str(service["name"]) for service in services if service["migrates"]]
    found: dict[str, Any] = {"tried": migrating, "statements": [], "broken": [], "failures": []}
    for entry in said:
        service = names[str(entry["container"]).partition("-")[2]]
        if entry.get("error"):
            found["failures"].append({"service": service, "step": entry.get("command", ""), "reason": entry["error"]})
        for statement in entry.get("statements") or [] if entry.get("command") == "capture" else []:
            found["statements"].append({"service": service, "sql": plain(statement["sql"]), "loses": loses(statement["sql"])})
        if entry.get("broken"):
            found["broken"].append({"service": service, **entry["broken"]})
    found["losing"] = [statement for statement in found["statements"] if statement["loses"]]
    found["findings"] = lint([statement["sql"] for statement in found["statements"]])
    return found


def _secret(options: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return the Secret with the scratch schema's credentials."""
    data = {key: base64.b64encode(str(options["database"][key]).encode()).decode() for key in KEYS}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(options, namespace), "type": "Opaque", "data": data}


def _metadata(options: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": PREFIX, LABEL: str(options["name"])}
    return {"name": f"rehearsal-{options['name']}", "namespace": namespace, "labels": labels}


def _pod(options: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return the pod: its containers run one after the other, the serving code's schema, the new statements, the serving code again."""
    services: list[Mapping[str, Any]] = list(options["services"])
    role = ["--role", str(options["role"])]
    files = [f"{SHARED}/{service['name']}.json" for service in services if service["migrates"]]
    steps = [_container("prepare", service, service["old"], ["prepare", *role]) for service in services]
    steps += [
        _container("capture", service, service["new"], ["capture", f"{SHARED}/{service['name']}.json"]) for service in services if service["migrates"]
    ]
    steps += [_container("check", service, service["old"], ["check", *files, *role]) for service in services]
    metadata = _metadata(options, namespace)
    metadata["labels"] = {**metadata["labels"], f"{PREFIX}/database": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": max(1, int(float(options["wait_timeout"]))),
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": [{"name": name} for name in options["pull_secrets"]],
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": steps[:-1],
            "containers": steps[-1:],
            "volumes": [
                {"name": "database", "secret": {"secretName": metadata["name"], "defaultMode": 0o440}},
                {"name": "shared", "emptyDir": {"sizeLimit": "16Mi"}},
            ],
        },
    }


def _container(step: str, service: Mapping[str, Any], image: str, arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "name": f"{step}-{_suffix(service)}",
        "image": image,
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in image else "Always",
        "command": [*service["command"], *arguments],
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "database", "mountPath": "/etc/barberpro/database", "readOnly": True},
            {"name": "shared", "mountPath": SHARED},
        ],
    }


def _suffix(service: Mapping[str, Any]) -> str:
    """Return what the names of a service's containers end with."""
    return str(service["name"]).replace("_", "-")
