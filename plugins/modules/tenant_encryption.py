#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renew the encryption of what a service of a tenant holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_encryption
short_description: Renew the encryption of what a service of a tenant holds
version_added: 0.1.0
description:
  - Has a service wrap its data keys by the newest version of the tenant's key, seal with a new data key from now on, and seal what is
    still stored plain. Nothing that is sealed has to be written again, and no request waits.
  - The admin API is reached by a port-forward to a ready pod through the API server.
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
    description: Namespace of the service.
    type: str
    required: true
  selector:
    description: Label selector of the service's pods. The newest ready pod is used.
    type: str
    required: true
  token_secret:
    description: Name of the Secret in O(namespace) whose key C(token) authenticates the caller to the admin API.
    type: str
    default: booking-admin
  state:
    description: V(renewed) does it, V(inspected) only tells how things are.
    type: str
    choices: [inspected, renewed]
    default: renewed
seealso:
  - module: barberpro.platform.tenant_key
"""

EXAMPLES = r"""
- name: Wrap everything by the newest version of the key
  barberpro.platform.tenant_encryption:
    namespace: tenant-barbershop-palermo
    selector: app.kubernetes.io/component=booking
"""

RETURN = r"""
pod:
  description: The pod that was spoken to, as NAMESPACE/NAME.
  returned: success
  type: str
status:
  description: >-
    What the service says: C(encrypting), C(plain) and C(sealed) bookings, C(data_keys), and the C(versions) of the tenant's key that wrap
    them; after a renewal also C(rewrapped), C(newly_sealed) and C(version).
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
            "selector": {"type": "str", "required": True},
            "token_secret": {"type": "str", "default": "booking-admin", "no_log": False},
            "state": {"type": "str", "choices": ["inspected", "renewed"], "default": "renewed"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _encryption.converge)


if __name__ == "__main__":
    main()
