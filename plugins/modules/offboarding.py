#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep and sign the record of a tenant that leaves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: offboarding
short_description: Keep and sign the record of a tenant that leaves
version_added: 0.1.0
description:
  - The record is the ConfigMap C(barberpro-system/offboarding-NAME). It says step by step what was destroyed, so that a run that was killed
    is gone on with, and is signed at the end by the key C(barberpro-records) of Vault's transit engine.
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
    details: O(state=noted) and O(state=signed) write each time.
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  state:
    description:
      - V(inspected) tells what there is of the tenant, and what the record says so far.
      - V(noted) adds O(step) with O(detail) to the record, a new one when the last was signed.
      - V(swept) removes what C(barberpro-system) still holds of the tenant (history, reports, host names, and last journal and lease). It fails when
        another run has the lease.
      - V(signed) closes the record.
    type: str
    choices: [inspected, noted, swept, signed]
    default: inspected
  step:
    description: What was done, for O(state=noted).
    type: str
  detail:
    description: What is to be said of it.
    type: dict
  by:
    description: Who offboards.
    type: str
  run:
    description:
      - The run that this is a step of, see M(barberpro.platform.transaction). With it the lease is renewed, and a run that has lost it fails.
    type: dict
  vault:
    description: What the platform says of its Vault; without one the record is not signed.
    type: dict
    default: {}
  path:
    description: Folder for C(record.json), C(record.sig) and C(record.pem), for O(state=signed).
    type: path
seealso:
  - module: barberpro.platform.tenant_export
"""

EXAMPLES = r"""
- name: What is there of the tenant
  barberpro.platform.offboarding:
    name: barbershop-palermo
"""

RETURN = r"""
namespace:
  description: Whether the tenant's namespace exists and is not going.
  returned: success
  type: bool
hold:
  description: Why the tenant must not be removed, the annotation C(barberpro.platform/legal-hold) of its namespace.
  returned: success
  type: str
host:
  description: Its host name.
  returned: success
  type: str
left:
  description: What the system namespace holds of it.
  returned: success
  type: list
  elements: str
removed:
  description: What was removed from it.
  returned: O(state=swept)
  type: list
  elements: str
record:
  description: The record so far.
  returned: success
  type: dict
signed:
  description: Whether the record is closed.
  returned: success
  type: bool
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _offboarding


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["inspected", "noted", "swept", "signed"], "default": "inspected"},
            "step": {"type": "str"},
            "detail": {"type": "dict"},
            "by": {"type": "str"},
            "run": {"type": "dict"},
            "vault": {"type": "dict", "default": {}},
            "path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _offboarding.converge)


if __name__ == "__main__":
    main()
