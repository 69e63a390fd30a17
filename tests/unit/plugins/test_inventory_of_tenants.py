"""Tenants out of namespaces, and the inventory plugin on top of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible_collections.barberpro.platform.plugins.inventory.tenants import InventoryModule
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._inventory import group_name, hosts
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_api import FakeApi, kubeconfig


def namespace(name: str, **labels: str) -> dict[str, Any]:
    own = {"barberpro.platform/tenant": name, **{f"barberpro.platform/{key}": value for key, value in labels.items()}}
    return {"metadata": {"name": f"tenant-{name}", "labels": own, "creationTimestamp": "2026-01-02T03:04:05Z"}}


def test_labels_become_groups_and_variables() -> None:
    found = hosts([namespace("palermo", vertical="barbershop", tier="small", market="metro", region="buenos-aires")])
    assert found["palermo"]["groups"] == ["vertical_barbershop", "tier_small", "market_metro", "region_buenos_aires"]
    assert found["palermo"]["variables"] == {
        "tenant_namespace": "tenant-palermo",
        "tenant_created": "2026-01-02T03:04:05Z",
        "vertical": "barbershop",
        "tier": "small",
        "market_size": "metro",
        "region": "buenos-aires",
    }


def test_what_is_no_tenant_is_left_out() -> None:
    going = namespace("going")
    going["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    assert hosts([going, {"metadata": {"name": "other"}}]) == {}


@given(st.text(max_size=30))
def test_group_names_are_what_ansible_takes(value: str) -> None:
    assert all(letter.isascii() and (letter.isalnum() or letter == "_") for letter in group_name(value))


class Plugin(InventoryModule):
    """The plugin with its options given, not read from a file."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.given = {"cache": False, "strict": True, **options}
        self.kept: dict[str, Any] = {}

    def get_option(self, option: str, hostvars: Any = None) -> Any:
        return self.given.get(option)

    def _read_config_data(self, path: str) -> dict[str, Any]:
        return self.given

    def get_cache_key(self, path: str) -> str:
        return path

    @property
    def _cache(self) -> dict[str, Any]:
        return self.kept

    @_cache.setter
    def _cache(self, value: Any) -> None:
        return


def test_the_plugin_fills_the_inventory(tmp_path: Path) -> None:
    page = {"items": [namespace("palermo", vertical="barbershop", tier="large")], "metadata": {}}
    with FakeApi([(200, {}, page)]) as api:
        kubeconfig(tmp_path, api.url)
        plugin = Plugin(kubeconfig="kubeconfig", cache=True)
        for _turn in range(2):
            data = InventoryData()
            plugin.parse(data, DataLoader(), str(tmp_path / "live.tenants.yml"))
            host = data.get_host("palermo")
            assert host is not None
            assert {group.name for group in host.get_groups()} >= {"tenants", "vertical_barbershop", "tier_large"}
            assert host.get_vars()["tenant_namespace"] == "tenant-palermo"
        assert len(api.seen) == 1  # the second time from the cache


def asked(tmp_path: Path, *lines: str, **environment: str) -> str:
    """The kubeconfig that `ansible-inventory` misses, when it runs in the folder above the inventory file's."""
    source = tmp_path / "inventories" / "live.tenants.yml"
    source.parent.mkdir(exist_ok=True)
    source.write_text("\n".join(["plugin: barberpro.platform.tenants", *lines]))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": f"{sys.prefix}/collections",
        "ANSIBLE_INVENTORY_ENABLED": "barberpro.platform.tenants", **environment,
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(source), "--graph"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"kubeconfig(\S+?)doesnotexist", "".join(done.stderr.split()))  # Ansible breaks lines, on 2.18 within a path too.
    assert found, done.stdout + done.stderr
    return found[1]


def test_a_path_is_relative_to_where_it_was_written(tmp_path: Path) -> None:
    assert asked(tmp_path, KUBECONFIG="x/k") == "x/k"
    assert asked(tmp_path, "kubeconfig: ../y", KUBECONFIG="x/k").endswith("/inventories/../y")


@pytest.mark.parametrize(("in_file", "folder"), [(True, "/shop/"), (False, "")])
def test_each_path_of_a_list_counts(monkeypatch: pytest.MonkeyPatch, in_file: bool, folder: str) -> None:
    seen = []

    def no_client(options: dict[str, Any]) -> None:
        seen.append(options["kubeconfig"])
        raise PlatformError("no cluster")

    monkeypatch.setattr(Client, "from_options", no_client)
    with pytest.raises(AnsibleParserError, match="no cluster"):
        Plugin(kubeconfig="a:/b:c")._fetch("/shop/live.tenants.yml", in_file)
    assert seen == [f"{folder}a:/b:{folder}c"]


def test_a_cluster_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AnsibleParserError, match=r"kubeconfig .*none does not exist"):
        Plugin(kubeconfig="none").parse(InventoryData(), DataLoader(), str(tmp_path / "live.tenants.yml"))


def test_only_sources_of_its_name_are_taken(tmp_path: Path) -> None:
    for name, taken in (("live.tenants.yml", True), ("tenants.yaml", True), ("hosts.yml", False)):
        (tmp_path / name).write_text("")
        assert Plugin().verify_file(str(tmp_path / name)) is taken
