#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: tenant
version_added: 0.1.0
short_description: Converge the namespace, isolation objects and credentials of one tenant
description:
  - Applies the infrastructure objects of a tenant by server-side apply as field manager C(barberpro.platform), policies first,
    and returns when the namespace is active and its quotas are in force.
  - Claims the host name that the annotation C(barberpro.platform/host) of the Namespace names by creating a ConfigMap that bears it. A host
    that another tenant has claimed is refused before anything is written. O(state=absent) releases it.
  - Creates Secrets whose values are generated once and never shown, replaced or logged.
  - An object is written only when it differs from what is asked.
  - With O(state=absent) the namespace, everything in it and the stored revisions are removed.
author:
  - BarberPro operations (@barberpro)
options:
  state:
    description: Whether the tenant shall exist.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the tenant, an RFC 1123 label of at most 40 characters.
    type: str
    required: true
  objects:
    description:
      - The tenant's infrastructure objects, its Namespace included, as rendered by P(barberpro.platform.render#filter).
      - Each must carry the label C(barberpro.platform/tenant) with the tenant's name. Secrets with values are refused, see O(credentials).
      - Objects of other phases are ignored, so that the whole rendered set can be given.
    type: list
    elements: dict
    default: []
  credentials:
    description: Secrets of the tenant's namespace.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      type:
        description: Type of the Secret, when it is made.
        type: str
        default: Opaque
      data:
        description: Keys that are not secret (a host, a port, a user name), brought to these values.
        type: dict
        default: {}
      secret_data:
        description: Keys whose values are secret and given, brought to these values.
        type: dict
        default: {}
      initial:
        description: Keys that are not secret and get these values when they have none. An existing value is kept.
        type: dict
        default: {}
      generate:
        description: Keys that get a random value of 256 bits when they have none. An existing value is kept.
        type: list
        elements: str
        default: []
  confirm:
    description: Must repeat O(name) for O(state=absent).
    type: str
  force_conflicts:
    description: Take over fields that another field manager has set. Without it such a field is an error that names the manager.
    type: bool
    default: false
  guarded:
    description:
      - Wait until the platform's admission policies guard the namespace. By dry run a route is tried that must be refused, because its host
        is not the one that the annotation C(barberpro.platform/host) of the Namespace names.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for the namespace and its quotas, or for the removal.
    type: float
    default: 120.0
  run:
    description:
      - The run that this is a step of, see M(barberpro.platform.transaction). Without it no lease is taken and no journal kept.
      - With O(state=absent) journal and lease of the tenant go as well when this is not given, unless another run has the lease; a run needs them until
        it ends.
    type: dict
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: By dry run on the API server. Objects of a namespace that does not exist yet are reported as created without one.
  diff_mode:
    support: full
    details: Without server-side bookkeeping fields, and with the values of Secrets redacted.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Converge the tenant's namespace, policies and credentials
  barberpro.platform.tenant:
    name: barbershop-palermo
    objects: "{{ template_dirs | barberpro.platform.render(context) }}"
    credentials:
      - name: booking-database
        data: {host: postgresql.barberpro-data.svc, port: "5432"}
        initial: {user: barbershop_palermo_app}
        generate: [password]

- name: Remove the tenant with all it has in the cluster
  barberpro.platform.tenant:
    name: barbershop-palermo
    state: absent
    confirm: barbershop-palermo
"""

RETURN = r"""
objects:
  description: Every object looked at and what happened (in check mode would happen) to it.
  returned: always
  type: list
  elements: dict
  contains:
    object:
      description: Kind, namespace and name.
      type: str
      sample: Secret tenant-barbershop-palermo/booking-database
    action:
      description: C(created), C(changed), C(deleted) or C(unchanged).
      type: str
      sample: unchanged
namespace:
  description: The tenant's namespace.
  returned: always
  type: str
  sample: tenant-barbershop-palermo
created:
  description: Whether the namespace did not exist before.
  returned: always
  type: bool
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _tenant


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "objects": {"type": "list", "elements": "dict", "default": []},
            "credentials": _tenant.CREDENTIALS,
            "confirm": {"type": "str"},
            "force_conflicts": {"type": "bool", "default": False},
            "guarded": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 120.0},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _tenant.converge)


if __name__ == "__main__":
    main()
