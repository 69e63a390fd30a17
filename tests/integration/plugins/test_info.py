"""tenant_info, release_info and the inventory of live tenants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.modules import isolation_report, release_info, tenant_info

from tests.support import modules
from tests.support.waiting import equal_to, until

from .conftest import Shop

pytestmark = pytest.mark.simulated


def tenant_of(shop: Shop, **options: Any) -> dict[str, Any]:
    result = modules.call(tenant_info, {"kubeconfig": shop.kubeconfig, **options}, check=True)
    found: dict[str, Any] = next(item for item in result["tenants"] if item["name"] == shop.name)
    return found


def test_a_tenant_at_a_glance(shop: Shop) -> None:
    shop.tenant(shop.set())
    assert (tenant_of(shop)["health"], tenant_of(shop)["revision"]) == ("empty", None)
    shop.deploy(shop.set())
    found = tenant_of(shop)
    assert {key: found[key] for key in ("namespace", "vertical", "tier", "market", "region", "host", "revision", "pending", "health", "drift")} == {
        "namespace": shop.namespace,
        "vertical": "barbershop",
        "tier": "small",
        "market": "medium",
        "region": "buenos-aires",
        "host": f"{shop.name}.barberpro.test",
        "revision": 1,
        "pending": None,
        "health": "healthy",
        "drift": [],
    }
    assert found["created"].endswith("Z")


def test_the_preflight_namespace_is_no_tenant(shop: Shop) -> None:
    shop.tenant(shop.set())
    shop.kubectl("label", "namespace", shop.namespace, "barberpro.platform/preflight=true")
    result = modules.call(tenant_info, {"kubeconfig": shop.kubeconfig, "name": shop.name})
    assert result["tenants"] == []


def test_drift_and_bad_health_are_told(shop: Shop) -> None:
    shop.deploy(shop.set(extra=("config",)))
    shop.kubectl("delete", "networkpolicy", "default-deny", "-n", shop.namespace)
    shop.kubectl("patch", "configmap", "config", "-n", shop.namespace, "--type=merge", "-p", '{"data": {"key": "other"}}')
    shop.kubectl("scale", "deployment", "booking-r1", "-n", shop.namespace, "--replicas=20")
    found = tenant_of(shop, name=shop.name)
    assert found["drift"] == [
        f"ConfigMap {shop.namespace}/config was changed by kubectl-patch",
        f"Deployment {shop.namespace}/booking-r1 was changed by kubectl",
        f"NetworkPolicy {shop.namespace}/default-deny is missing",
    ]
    assert found["health"] in ("failed", "progressing")
    assert found["health_reason"].startswith(f"Deployment {shop.namespace}/booking-r1: ")


def test_a_quota_that_creates_got_past_is_told_with_its_numbers(shop: Shop) -> None:
    """A count that is too low is what creates racing with deletes leave behind; here it is written by hand."""
    shop.deploy(shop.set(pods="2"))
    container = {"name": "main", "image": "shop:1", "resources": {"limits": {"cpu": "100m"}}}

    def add(name: str) -> bool:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": shop.namespace}, "spec": {"containers": [container]}}
        shop.kubectl("apply", "-f", "-", stdin=json.dumps(pod), check=False)
        return f"Pod/{name}" in shop.kubectl.names("pods", shop.namespace)

    def health() -> str:
        return str(tenant_of(shop)["health"])

    def refused(name: str) -> bool:
        """True, if the quota stands in its way; where the controller still counts an older state, it goes again."""
        if not add(name):
            return True
        shop.kubectl("delete", "pod", name, "-n", shop.namespace, "--now")
        return False

    until(lambda: add("one"), "the first pod to be admitted")
    until(lambda: refused("two"), "the quota to be in the way of the second")
    shop.kubectl("patch", "resourcequota", "tier", "-n", shop.namespace, "--subresource=status", "--type=merge", "-p", '{"status": {"used": {"pods": "0"}}}')
    until(lambda: add("two"), "the second pod to get past the quota")
    until(lambda: add("three"), "the third pod to get past the quota")
    assert tenant_of(shop)["health"] == "healthy"
    shop.kubectl("delete", "pod", "three", "-n", shop.namespace, "--now")
    sentence = f"ResourceQuota {shop.namespace}/tier: pods: 3 in use, and 2 are allowed"
    until(health, "the controller to count all of them", good=equal_to("over_quota"))
    assert tenant_of(shop)["health_reason"] == sentence
    found = modules.call(isolation_report, {"kubeconfig": shop.kubeconfig, "names": [shop.name]})
    assert (found["isolated"], found["findings"]) == (False, [sentence])
    shop.kubectl("delete", "pod", "two", "-n", shop.namespace, "--now")
    until(health, "the controller to count one less", good=equal_to("healthy"))
    assert modules.call(isolation_report, {"kubeconfig": shop.kubeconfig, "names": [shop.name]})["isolated"]


def test_without_health_only_the_list_is_read(shop: Shop) -> None:
    shop.deploy(shop.set())
    assert not {"health", "drift"} & set(tenant_of(shop, health=False))


def test_revisions_of_a_tenant(shop: Shop) -> None:
    options = {"name": shop.name, "kubeconfig": shop.kubeconfig}
    assert modules.call(release_info, options)["exists"] is False
    shop.deploy(shop.set())
    shop.deploy(shop.set(image="shop:2"), until="staged")
    found = modules.call(release_info, {**options, "revision": 2})
    assert [(item["number"], item["state"]) for item in found["revisions"]] == [(1, "current"), (2, "pending")]
    assert (found["current"], found["pending"], found["previous"], found["highest"]) == (1, 2, 1, 2)
    assert {obj["metadata"]["name"] for obj in found["objects"]} >= {"booking-r2", "main"}
    assert "images" not in found
    assert modules.call(release_info, {**options, "images": True})["images"] == ["shop:1", "shop:2"]
    missing = modules.call(release_info, {**options, "revision": 9})
    assert missing["msg"] == f"revision r9 of tenant {shop.name} is not kept (kept: r1, r2); choose one of these"


def listed(source: Path, root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(source), "--list"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)


def test_live_tenants_are_hosts_in_groups(shop: Shop, tmp_path: Path, root: Path) -> None:
    shop.tenant(shop.set())
    source = tmp_path / "live.tenants.yml"
    cache = f"cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: {tmp_path / 'cache'}\n"
    source.write_text(f"plugin: barberpro.platform.tenants\nkubeconfig: {shop.kubeconfig}\n{cache}keyed_groups:\n  - key: tier\n    prefix: size\n")
    done = listed(source, root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for group in ("tenants", "vertical_barbershop", "tier_small", "market_medium", "region_buenos_aires", "size_small"):
        assert shop.name in found[group]["hosts"], group
    assert shop.namespace in str(found["_meta"]["hostvars"][shop.name]["tenant_namespace"])
    assert list((tmp_path / "cache").iterdir())
    # From the cache, without the cluster.
    source.write_text(source.read_text().replace(shop.kubeconfig, "/none"))
    assert shop.name in json.loads(listed(source, root).stdout)["tenants"]["hosts"]


def test_the_inventory_says_what_is_wrong(tmp_path: Path, root: Path) -> None:
    source = tmp_path / "live.tenants.yml"
    source.write_text("plugin: barberpro.platform.tenants\nkubeconfig: none\n")
    done = listed(source, root)
    assert done.returncode != 0
    assert f"kubeconfig {tmp_path / 'none'} does not exist" in " ".join((done.stdout + done.stderr).split())
