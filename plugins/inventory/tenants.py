# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory of the tenants that live in a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tenants
short_description: The live tenants of a cluster as hosts
version_added: 0.1.0
author:
  - BarberPro operations (@barberpro)
description:
  - Lists the namespaces that carry the label C(barberpro.platform/tenant) as hosts, in groups C(vertical_*), C(tier_*), C(market_*) and
    C(region_*) made of their labels, all of them in the group C(tenants).
  - The file name of a source must end in C(tenants.yml) or C(tenants.yaml).
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Says that the file is meant for this plugin.
    type: str
    required: true
    choices: [barberpro.platform.tenants]
  kubeconfig:
    description:
      - Path of the kubeconfig file, or several with C(:) between them.
      - In the inventory file, a relative path is relative to that file. In the environment, to the current folder.
    type: str
    env:
      - name: BARBERPRO_KUBECONFIG
      - name: KUBECONFIG
  context:
    description: Context of the kubeconfig file to use instead of its current one.
    type: str
  request_timeout:
    description: Seconds that one answer of the API server may take.
    type: float
    default: 30.0
requirements:
  - python >= 3.11
  - kubernetes >= 33
  - urllib3 >= 2.3
"""

EXAMPLES = r"""
# live.tenants.yml
plugin: barberpro.platform.tenants
kubeconfig: ../../.embedded/kubeconfig
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.ansible/tenants
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.barberpro.platform.plugins.module_utils import _inventory
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Tenants as hosts."""

    NAME = "barberpro.platform.tenants"

    def verify_file(self, path: str) -> bool:
        """Return whether a source is meant for this plugin, by its name."""
        return bool(super().verify_file(path)) and path.endswith(("tenants.yml", "tenants.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory from the cluster, or from the cache when that is switched on and fresh."""
        super().parse(inventory, loader, path, cache)
        # A value of the file takes precedence over the environment's.
        in_file = bool(self._read_config_data(path).get("kubeconfig"))
        key = self.get_cache_key(path)
        use_cache = self.get_option("cache") and cache
        found: dict[str, Any] | None = None
        if use_cache:
            found = self._cache.get(key)
        if found is None:
            found = self._fetch(path, in_file)
            if self.get_option("cache"):
                self._cache[key] = found
        self._fill(found)

    def _fetch(self, path: str, in_file: bool) -> dict[str, Any]:
        kubeconfig = to_plain(self.get_option("kubeconfig"))
        if in_file:
            kubeconfig = os.pathsep.join(str(Path(path).parent / Path(part).expanduser()) for part in kubeconfig.split(os.pathsep))
        options = {"kubeconfig": kubeconfig, "context": self.get_option("context"), "request_timeout": self.get_option("request_timeout")}
        try:
            client = Client.from_options(options)
            return _inventory.hosts(Resources(client).list("v1", "Namespace", labels=_inventory.TENANTS))
        except PlatformError as error:
            raise AnsibleParserError(f"inventory {path}: {error.message}") from error

    def _fill(self, found: dict[str, Any]) -> None:
        strict = self.get_option("strict")
        self.inventory.add_group("tenants")
        for name, tenant in sorted(found.items()):
            self.inventory.add_host(name, group="tenants")
            for key, value in tenant["variables"].items():
                self.inventory.set_variable(name, key, value)
            for group in tenant["groups"]:
                self.inventory.add_group(group)
                self.inventory.add_child(group, name)
            variables = self.inventory.get_host(name).get_vars()
            self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
