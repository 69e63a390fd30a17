"""One person floods the API server: his own requests wait, the platform's do not, and other people's hardly do."""

from __future__ import annotations

import base64
import math
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from tests.support.audit import AuditLog
from tests.support.waiting import until

from .conftest import DEPLOYER, Guarded, identity

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(180)]
NAMESPACE = f"guarded-flood-{uuid.uuid4().hex[:6]}"
# The tenants' level has 80 seats at most. A list of a thousand objects takes ten of them, but one as long as the server has not counted the objects, which it
# does once a minute: with more connections than seats the level is full in either case.
LISTED = 1000
FLOODING = 480
FLOODER = "flooder"
WAITED = "apiserver_flowcontrol_request_wait_duration_seconds"


@pytest.fixture
def listed(admin: Resources) -> Iterator[str]:
    """A namespace in which everyone may list a thousand ConfigMaps; the path of that list."""
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api = "rbac.authorization.k8s.io"
    everyone = {"apiGroup": api, "kind": "Group", "name": "system:authenticated"}
    view = {"apiGroup": api, "kind": "ClusterRole", "name": "view"}
    metadata = {"name": "everyone", "namespace": NAMESPACE}
    admin.apply({"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": view, "subjects": [everyone]})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"padding": "x" * 1000}}
    made = admin.client.map(lambda number: admin.create({**body, "metadata": {"name": f"item-{number}", "namespace": NAMESPACE}}), range(LISTED))
    assert not [answer for answer in made if isinstance(answer, PlatformError)]
    yield f"/api/v1/namespaces/{NAMESPACE}/configmaps"
    admin.delete(Ref("v1", "Namespace", "", NAMESPACE))


def waits(admin: Resources, level: str) -> dict[str, float]:
    """How many requests of a priority level were served, and how many of them within 5 ms of their arrival, and how many were refused."""
    text = admin.client.send("GET", "/metrics", headers=admin.client.headers()).data.decode()

    def total(pattern: str) -> float:
        return sum(map(float, re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE)))

    labels = rf'{{execute="true",flow_schema="[^"]*",priority_level="{level}"'
    return {
        "served": total(rf"{WAITED}_count{labels}}}"),
        "at once": total(rf'{WAITED}_bucket{labels},le="0.005"}}'),
        "refused": total(rf'apiserver_flowcontrol_rejected_requests_total{{flow_schema="[^"]*",priority_level="{level}",reason="[^"]*"}}'),
    }


def since(admin: Resources, level: str, before: dict[str, float]) -> dict[str, float]:
    """What has come to these numbers since."""
    return {key: value - before[key] for key, value in waits(admin, level).items()}


@pytest.fixture
def flood(simulated_kubeconfig: str, listed: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One person lists as fast as a machine can, on many connections. A program in C, so that what is full is the server and not the one who asks."""
    config = yaml.safe_load(Path(simulated_kubeconfig).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    files = {"cacert": cluster["certificate-authority-data"], "cert": user["client-certificate-data"], "key": user["client-key-data"]}
    command = ["curl", "--silent", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", str(FLOODING), "--output", "/dev/null"]
    for name, data in files.items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
        command += [f"--{name}", str(tmp_path / name)]
    # Packed answers cost the server far more than the one who throws them away.
    command += ["--header", f"Impersonate-User: {FLOODER}", "--header", "Impersonate-Group: system:authenticated", "--header", "Accept-Encoding: gzip"]
    with subprocess.Popen([*command, f"{cluster['server']}{listed}?number=[1-1000000]"], stderr=subprocess.DEVNULL) as running:
        yield running
        running.kill()


def seconds(duration: str) -> float:
    """Seconds of a duration as Go writes it, such as 1m2.5s or 72.16ms."""
    units = {"m": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|µs|ns|m|s)", duration))


def waited(event: dict[str, Any]) -> float:
    """How long a request stood in its queue, as the API server says of each that took more than half a second. One that was refused never came to its turn."""
    if event["responseStatus"]["code"] == 429:
        return math.inf
    return seconds(event["annotations"].get("apiserver.latency.k8s.io/apf-queue-wait", "0s"))


def test_who_floods_waits_for_himself(
    tenants: dict[str, Guarded], shop: Guarded, admin: Resources, simulated_kubeconfig: str, listed: str, flood: subprocess.Popen[bytes]
) -> None:
    def ask(user: str, path: str) -> set[int]:
        client = identity(simulated_kubeconfig, user, "system:authenticated").resources.client
        return {client.send("GET", path, headers=client.headers()).status for _turn in range(5)}

    begun = waits(admin, "barberpro-tenants")
    until(lambda: since(admin, "barberpro-tenants", begun)["served"], "the flood", good=lambda served: served > FLOODING)
    log = AuditLog(log=Path(simulated_kubeconfig).parent / "logs" / "audit.log")
    before = {level: waits(admin, level) for level in ("barberpro-tenants", "barberpro-platform")}
    assert ask("neighbour", f"{listed}/item-1") == {200}
    assert ask(DEPLOYER, f"/api/v1/namespaces/{shop.namespace}") == {200}
    # Where his queues are full, or a request has stood in them for too long, he is told to come again later.
    assert ask(FLOODER, f"{listed}/item-1") <= {200, 429}
    assert flood.poll() is None
    tenants_level, platform_level = (since(admin, level, before[level]) for level in before)
    # The flood was one: most of its requests had to wait for a seat.
    assert tenants_level["at once"] < 0.5 * tenants_level["served"], tenants_level
    assert platform_level["served"] >= 5
    assert platform_level["at once"] == platform_level["served"], platform_level
    assert platform_level["refused"] == 0
    # The same small request: his own behind all that he has asked for, his neighbour's not.
    small = [event for event in log.events() if event["requestURI"] == f"{listed}/item-1"]
    own, other = (sorted(waited(event) for event in small if event["impersonatedUser"]["username"] == user) for user in (FLOODER, "neighbour"))
    print(f"waited: {own} s; the neighbour: {other} s; of the tenants' level: {tenants_level}")
    assert len(own) >= len(other) == 5
    assert other[2] < own[len(own) // 2] / 2, (own, other)
