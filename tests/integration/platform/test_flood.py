"""One person floods the API server: his own requests wait, the platform's do not, and other people's hardly do."""

from __future__ import annotations

import base64
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from tests.support.waiting import until

from .conftest import DEPLOYER, Guarded, identity

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(180)]
NAMESPACE = f"guarded-flood-{uuid.uuid4().hex[:6]}"
# The tenants' level has 80 seats at most. A list of a thousand objects takes ten of them, but one as long as the server has not counted the objects, which it
# does once a minute: with more connections than seats the level is full in either case.
LISTED = 1000
FLOODING = 240
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
    command += ["--header", "Impersonate-User: flooder", "--header", "Impersonate-Group: system:authenticated", "--header", "Accept-Encoding: gzip"]
    with subprocess.Popen([*command, f"{cluster['server']}{listed}?number=[1-1000000]"], stderr=subprocess.DEVNULL) as running:
        yield running
        running.kill()


def test_who_floods_waits_for_himself(
    tenants: dict[str, Guarded], shop: Guarded, admin: Resources, simulated_kubeconfig: str, listed: str, flood: subprocess.Popen[bytes]
) -> None:
    def asks(user: str) -> Callable[[str], float]:
        client = identity(simulated_kubeconfig, user, "system:authenticated").resources.client

        def ask(path: str) -> float:
            began = time.monotonic()
            assert client.send("GET", path, headers=client.headers()).status == 200
            return time.monotonic() - began

        return ask

    neighbour, deployer, flooder = asks("neighbour"), asks(DEPLOYER), asks("flooder")
    begun = waits(admin, "barberpro-tenants")
    until(lambda: since(admin, "barberpro-tenants", begun)["served"], "the flood", good=lambda served: served > FLOODING)
    before = {level: waits(admin, level) for level in ("barberpro-tenants", "barberpro-platform")}
    one = [neighbour(f"{listed}/item-1") for _turn in range(5)]
    platform = [deployer(f"/api/v1/namespaces/{shop.namespace}") for _turn in range(5)]
    own = [flooder(f"{listed}/item-1") for _turn in range(5)]
    assert flood.poll() is None
    tenants_level, platform_level = (since(admin, level, before[level]) for level in before)
    # The flood was one: most of its requests had to wait for a seat.
    print(tenants_level)
    assert tenants_level["at once"] < 0.5 * tenants_level["served"], tenants_level
    assert platform_level["served"] >= len(platform)
    assert platform_level["at once"] == platform_level["served"], platform_level
    assert platform_level["refused"] == 0
    # The same small request: his own behind all that he has asked for, his neighbour's not.
    middles = {name: sorted(times)[len(times) // 2] for name, times in (("flooder", own), ("neighbour", one), ("platform", platform))}
    print({name: f"{seconds:.3f} s" for name, seconds in middles.items()})
    assert middles["neighbour"] < middles["flooder"] / 2, middles
