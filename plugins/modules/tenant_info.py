#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_info
version_added: 0.1.0
short_description: List the tenants of a cluster with their revision, health and drift
description:
  - Reads the namespaces that carry the label C(barberpro.platform/tenant), the record of each tenant and the objects of its revision.
  - One list request per kind serves all tenants.
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Only this tenant.
    type: str
  health:
    description: Also look at workloads and at objects that were changed by others. Without it RV(tenants[].health) and RV(tenants[].drift) are left out.
    type: bool
    default: true
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Reads only.
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: All tenants at a glance
  barberpro.platform.tenant_info:
  register: tenants
"""

RETURN = r"""
tenants:
  description: The tenants, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the tenant.
      type: str
      sample: barbershop-palermo
    namespace:
      description: Its namespace.
      type: str
      sample: tenant-barbershop-palermo
    vertical:
      description: Its vertical.
      type: str
      sample: barbershop
    tier:
      description: Its tier.
      type: str
      sample: small
    market:
      description: Its market size.
      type: str
      sample: medium
    region:
      description: Its region.
      type: str
      sample: buenos_aires
    host:
      description: Host name that its customers use, null before the first promotion.
      type: str
      sample: barbershop-palermo.barberpro.test
    revision:
      description: The current revision as a number, null when none was promoted.
      type: int
      sample: 4
    pending:
      description: A revision that was staged and neither promoted nor undone, null when there is none.
      type: int
    health:
      description: V(healthy), V(progressing), V(failed), V(terminating), V(empty) (no workloads) or V(over_quota) (well, but more is in use than allowed).
      type: str
      sample: healthy
    health_reason:
      description: The first reason when not healthy, and each limit of its quota that the tenant is beyond, with the numbers; else empty.
      type: str
    drift:
      description:
        - Objects that are missing or were changed by others since the last run.
        - Who changed one is the newest of its other field managers, C(others) where none has left its name.
      type: list
      elements: str
      sample: ["Deployment tenant-barbershop-palermo/booking-r4 was changed by kubectl-edit"]
    created:
      description: When the namespace was created.
      type: str
      sample: "2026-01-02T03:04:05Z"
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _info, _module


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str"},
            "health": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    _module.run(module, _info.tenants)


if __name__ == "__main__":
    main()
