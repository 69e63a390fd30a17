#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Vault give a database role of a tenant a new password."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_login
short_description: Have Vault give a database role of a tenant a new password
version_added: 0.1.0
description:
  - A role that exists in PostgreSQL becomes a static role of Vault's database engine, which makes its passwords and sets them in the database.
  - Vault rotates no role by itself. C(rotate_credentials.yml) rotates the one of a pair that is idle and lets the services
    change over afterwards.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is written, and no password returned.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: O(state=rotated) makes a new password each time.
options:
  role:
    description: Name of the role in PostgreSQL.
    type: str
    required: true
  state:
    description:
      - V(rotated) gives the role a new password.
      - V(absent) has Vault forget the role; in PostgreSQL it stays.
    type: str
    choices: [rotated, absent]
    default: rotated
  vault:
    description: What the platform says of its Vault (C(provider), C(address), C(ca), C(database), C(approle)).
    type: dict
    required: true
seealso:
  - module: barberpro.platform.vault_setup
"""

EXAMPLES = r"""
- name: A new password for the role that nobody uses
  barberpro.platform.tenant_login:
    role: t_0123456789abcdef0123_app_b
    vault: "{{ platform.vault }}"
  register: login
  no_log: true
"""

RETURN = r"""
role:
  description: The role.
  returned: success
  type: str
  sample: t_0123456789abcdef0123_app_b
password:
  description: Its new password, empty in check mode and for O(state=absent). Use C(no_log) in the task.
  returned: success
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _vault_database


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "role": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["rotated", "absent"], "default": "rotated"},
            "vault": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    _module.run(module, _vault_database.converge)


if __name__ == "__main__":
    main()
