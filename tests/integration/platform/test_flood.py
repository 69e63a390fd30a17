"""One person floods the API server: his own requests wait, the platform's do not, and other people's hardly do."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from .conftest import DEPLOYER, Guarded, identity

pytestmark = [pytest.mark.simulated, pytest.mark.timeout(180)]
NAMESPACE = "guarded-flood"
# A list of a thousand objects takes ten seats, the most that one request can: with a few of them the tenants' level is full.
LISTED = 1000
FLOODING = 40
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


def test_who_floods_waits_for_himself(tenants: dict[str, Guarded], shop: Guarded, admin: Resources, simulated_kubeconfig: str, listed: str) -> None:
    def asks(user: str) -> Callable[[str], float]:
        client = identity(simulated_kubeconfig, user, "system:authenticated").resources.client

        def ask(path: str) -> float:
            began = time.monotonic()
            assert client.send("GET", path, headers=client.headers()).status == 200
            return time.monotonic() - began

        return ask

    flooder, neighbour, deployer = asks("flooder"), asks("neighbour"), asks(DEPLOYER)
    over = threading.Event()
    took: list[float] = []

    def flood() -> None:
        while not over.is_set():
            took.append(flooder(listed))

    before = {level: waits(admin, level) for level in ("barberpro-tenants", "barberpro-platform")}
    with ThreadPoolExecutor(FLOODING) as pool:
        running = [pool.submit(flood) for _ in range(FLOODING)]
        try:
            while len(took) < FLOODING:  # everyone is in the queue again
                time.sleep(0.1)
            one = [neighbour(f"{listed}/item-1") for _ in range(20)]
            platform = [deployer(f"/api/v1/namespaces/{shop.namespace}") for _ in range(50)]
        finally:
            over.set()
        for each in running:
            each.result()
    tenants_level, platform_level = (since(admin, level, before[level]) for level in before)
    # The flood was one: most of its requests had to wait for a seat.
    assert tenants_level["at once"] < 0.5 * tenants_level["served"], tenants_level
    assert platform_level["served"] >= len(platform)
    assert platform_level["at once"] == platform_level["served"], platform_level
    assert platform_level["refused"] == 0
    middle = sorted(took)[len(took) // 2]
    print(f"flood {middle:.3f} s, neighbour {sorted(one)[10]:.3f} s, platform {sorted(platform)[25]:.3f} s (each the middle)")
    assert sorted(one)[10] < middle / 4
