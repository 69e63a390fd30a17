# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: its document, the files on the runner, the copy in the cluster.

Nothing here may change how a run ended: what cannot be written becomes a warning, and the other copy is still made.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._redact import redact_diff
from ansible_collections.barberpro.platform.plugins.module_utils._report_html import page
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, TENANT_LABEL, Ref, Resources

VERSION = "0.1.0"  # of the collection; a test compares it with galaxy.yml
REPORT_LABEL = f"{PREFIX}/report"
# A ConfigMap holds 1 MiB; what is larger is kept without its diff.
LARGEST = 900 * 1024


@dataclass
class Written:
    """Paths of what was written on the runner, empty for what was not, and why."""

    json_path: str = ""
    html_path: str = ""
    warning: str = ""


@dataclass
class Kept:
    """NAMESPACE/NAME of the copy in the cluster, empty when there is none, and why."""

    name: str = ""
    warning: str = ""


def iso(moment: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def build_document(params: Mapping[str, Any], ansible_version: str, kubernetes_version: str) -> dict[str, Any]:
    """Return the document of a run; ``params`` are those of the module run_report, times in epoch seconds."""
    finished = params["finished"] if params["finished"] is not None else datetime.datetime.now(datetime.UTC).timestamp()
    operator = {"user": _user(), "host": socket.gethostname(), "ansible": ansible_version}
    operator.update({key: value for key, value in params["operator"].items() if value not in (None, "")})
    versions = {"barberpro.platform": VERSION, "ansible-core": ansible_version, "python": platform.python_version()}
    if kubernetes_version:
        versions["kubernetes"] = kubernetes_version
    return {
        "tenant": params["tenant"],
        "vertical": params["vertical"],
        "revision": params["revision"],
        "result": params["result"],
        "started": iso(params["started"]),
        "finished": iso(finished),
        "elapsed_seconds": round(finished - params["started"], 3),
        "url": params["url"],
        "error": params["error"],
        "next_step": params["next_step"],
        "undone": params["undone"],
        "stages": [_in_numbers(stage) for stage in params["stages"]],
        "planned_stages": params["planned_stages"],
        "objects": params["objects"],
        "diff": [redact_diff(entry) for entry in params["diff"]],
        "versions": {**versions, **params["versions"]},
        "operator": operator,
    }


def _in_numbers(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage whose seconds are numbers: those that went through a variable are text with ansible-core 2.18."""
    return {**stage, **{key: float(stage[key]) for key in ("budget_seconds", "elapsed_seconds") if key in stage}}


def _user() -> str:
    """Return who runs this: the person behind sudo where there is one."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password database
        return str(os.getuid())


def write_files(root: str, document: Mapping[str, Any], copy: str = "") -> Written:
    """Write report.json and report.html below ``root``/TENANT/TIME; ``copy`` names the one in the cluster for the warning."""
    written = Written()
    try:
        folder = new_folder(os.path.join(root, str(document["tenant"])), str(document["started"]))
        path = os.path.join(folder, "report.json")
        write_whole(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        written.json_path = path
        path = os.path.join(folder, "report.html")
        write_whole(path, page(document))
        written.html_path = path
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or root})"
        elsewhere = f"a copy is in ConfigMap {copy}" if copy else "there is no copy in the cluster either"
        part = "report.html" if written.json_path else "the report"
        written.warning = (
            f"{part} of tenant {document['tenant']} cannot be written: {reason}; the run itself ended as {document['result']} and {elsewhere}; "
            "make room or name another path"
        )
    return written


def new_folder(parent: str, started: str) -> str:
    """Make and return a folder named by the time, with a number when two runs began in the same second."""
    stem = started.partition(".")[0].replace(":", "-") + "Z"
    os.makedirs(parent, exist_ok=True)
    number = 1
    while True:
        folder = os.path.join(parent, stem if number == 1 else f"{stem}-{number}")
        try:
            os.mkdir(folder)
        except FileExistsError:
            number += 1
        else:
            return folder


def write_whole(path: str, text: str) -> None:
    """Write a file whole or not at all."""
    draft = f"{path}.part"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def server_version(make: Callable[[], Client]) -> tuple[str, str]:
    """Return the version of Kubernetes and no warning, or no version and why."""
    try:
        return str(make().request("GET", "/version", target="version", verb="get").get("gitVersion", "")), ""
    except PlatformError as error:
        return "", f"the report is not kept in the cluster: {error.message}"


def keep_in_cluster(make: Callable[[], Client], document: Mapping[str, Any], namespace: str, keep: int) -> Kept:
    """Store the document as a ConfigMap and remove the oldest of the tenant beyond ``keep``."""
    tenant = str(document["tenant"])
    stamp = "".join(char for char in str(document["started"]).partition(".")[0] if char.isdigit())
    labels = {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: tenant, REPORT_LABEL: str(document["result"])}
    kept = Kept()
    try:
        resources = Resources(make())
        name = _create(resources, namespace, f"report-{tenant}-{stamp}", labels, _fitting(document))
        kept.name = f"{namespace}/{name}"
        present = resources.list("v1", "ConfigMap", namespace, labels=f"{REPORT_LABEL},{TENANT_LABEL}={tenant}")
        old = sorted(present, key=lambda item: str(item["metadata"].get("creationTimestamp", "")) + item["metadata"]["name"], reverse=True)[keep:]
        for item in old:
            resources.delete(Ref("v1", "ConfigMap", namespace, item["metadata"]["name"]))
    except PlatformError as error:
        what = "old reports are not removed from the cluster" if kept.name else "the report is not kept in the cluster"
        kept.warning = f"{what}: {error.message}"
    return kept


def _create(resources: Resources, namespace: str, name: str, labels: Mapping[str, str], text: str) -> str:
    """Create the ConfigMap and return its name, numbered when two runs began in the same second."""
    number = 1
    while True:
        chosen = name if number == 1 else f"{name}-{number}"
        metadata = {"name": chosen, "namespace": namespace, "labels": dict(labels)}
        try:
            resources.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"report.json": text}})
        except ApiError as error:
            if error.status != 409 or number > 9:
                raise
            number += 1
        else:
            return chosen


def _fitting(document: Mapping[str, Any]) -> str:
    """Return the document as JSON that fits a ConfigMap: without its diff where it is too large."""
    text = json.dumps(document, ensure_ascii=False)
    if len(text.encode()) <= LARGEST:
        return text
    note = [{"prepared": "left out: too large to be kept in the cluster"}]
    return json.dumps({**document, "diff": note}, ensure_ascii=False)
