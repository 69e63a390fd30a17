#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, rotate or destroy the encryption key of a tenant in Vault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_key
short_description: Make, rotate or destroy the encryption key of a tenant in Vault
version_added: 0.1.0
description:
  - A tenant has one key in Vault's transit engine, which never leaves Vault, and one role of Vault's login for Kubernetes that is bound to
    the tenant's namespace and service accounts. Both bear the name of the namespace.
  - The deployer, as which this module logs in, makes, rotates and destroys keys; it can use none of them.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=rotated) makes a new version each time.
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  state:
    description:
      - V(present) makes key and role where they are missing and corrects the role.
      - V(rotated) makes a new version; what older ones encrypted can still be read.
      - V(retired) forbids the use of all versions but the newest. Do this once nothing is wrapped by an older one any more.
      - V(absent) destroys the key with all its versions, and the role. Nobody can read what was encrypted with it again.
    type: str
    choices: [present, rotated, retired, absent]
    default: present
  vault:
    description: What the platform says of its Vault (C(provider), C(address), C(ca), C(transit), C(auth), C(approle), C(audience)).
    type: dict
    required: true
  version:
    description:
      - For O(state=retired), the version by which all is wrapped. Where a newer one has been made since, by somebody else, nothing is retired.
      - Without it, the newest that there is.
    type: int
  service_accounts:
    description:
      - Service accounts of the tenant's namespace that may use the key.
      - Those of which a kept revision needs it may go on using it, since that revision may be returned to.
    type: list
    elements: str
    default: []
  narrow:
    description: Whether who is neither asked for nor needed by a kept revision loses the right to use the key.
    type: bool
    default: true
  confirm:
    description: Must repeat O(name) for O(state=absent).
    type: str
  run:
    description: The run that this is a step of, see M(barberpro.platform.transaction). Without it no lease is taken and no journal kept.
    type: dict
seealso:
  - module: barberpro.platform.vault_setup
"""

EXAMPLES = r"""
- name: A key for the tenant, for its booking service alone
  barberpro.platform.tenant_key:
    name: barbershop-palermo
    vault: "{{ platform.vault }}"
    service_accounts: [booking]

- name: A new version of it
  barberpro.platform.tenant_key:
    name: barbershop-palermo
    vault: "{{ platform.vault }}"
    state: rotated
"""

RETURN = r"""
key:
  description: Name of the key in the transit engine.
  returned: success
  type: str
  sample: tenant-barbershop-palermo
action:
  description: What was done, or would be in check mode; V(unchanged) when nothing.
  returned: success
  type: str
  sample: created
before:
  description: The key before.
  returned: success
  type: dict
  contains: &key
    exists:
      description: Whether there is one.
      type: bool
    version:
      description: Its newest version, 0 when there is none.
      type: int
    oldest_version:
      description: The oldest version that may still be used.
      type: int
    created:
      description: When its first version that is still kept was made, in seconds since 1970.
      type: str
after:
  description: The key after; in check mode as before.
  returned: success
  type: dict
  contains: *key
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _vault_tenant


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "rotated", "retired", "absent"], "default": "present"},
            "vault": {"type": "dict", "required": True},
            "version": {"type": "int"},
            "service_accounts": {"type": "list", "elements": "str", "default": []},
            "narrow": {"type": "bool", "default": True},
            "confirm": {"type": "str"},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _vault_tenant.converge)


if __name__ == "__main__":
    main()
