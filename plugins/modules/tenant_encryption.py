#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renew the encryption of what the services of a tenant hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_encryption
short_description: Renew the encryption of what the services of a tenant hold
version_added: 0.1.0
description:
  - Has the services wrap the data keys by the newest version of the tenant's key, seal with a new data key from now on, and seal what is
    still stored plain. Nothing that is sealed has to be written again, and no request waits.
  - The Deployments say which services those are (annotation C(barberpro.platform/sealed-table)). The admin API of each is reached by a
    port-forward to its newest ready pod through the API server, with the key C(token) of the Secret that bears its name and C(-admin).
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
    support: full
options:
  namespace:
    description: Namespace of the services.
    type: str
    required: true
  state:
    description: V(renewed) does it, V(inspected) only tells how things are.
    type: str
    choices: [inspected, renewed]
    default: renewed
  run:
    description: The run that this is a part of, see M(barberpro.platform.transaction). Its lease, if it has one, is renewed while the services work.
    type: dict
seealso:
  - module: barberpro.platform.tenant_key
"""

EXAMPLES = r"""
- name: Wrap everything by the newest version of the key
  barberpro.platform.tenant_encryption:
    namespace: tenant-barbershop-palermo
"""

RETURN = r"""
services:
  description: >-
    What each service says, by the table that it seals: C(encrypting), C(plain) and C(sealed) rows, C(data_keys), and the C(versions) of the
    tenant's key that wrap them; after a renewal also C(rewrapped), C(newly_sealed) and C(version).
  returned: success
  type: dict
status:
  description: The same for all of them together, without C(version).
  returned: success
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _encryption, _module


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "namespace": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["inspected", "renewed"], "default": "renewed"},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _encryption.converge)


if __name__ == "__main__":
    main()
