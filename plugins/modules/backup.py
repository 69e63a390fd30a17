#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: backup
version_added: 0.1.0
short_description: Take, restore, list or remove backups of a tenant's schema
description:
  - Runs C(pg_dump) or C(pg_restore) of the PostgreSQL image in a pod, as the role that owns the schema. The files are on the volume claim
    C(backups) of O(namespace), in a folder of the tenant.
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  state:
    description:
      - V(present) takes the backup unless there is one of that name, and forgets the oldest beyond O(keep).
      - V(restored) replaces the tables, sequences and types in the schema by those of the backup, in one transaction. What the backup does not
        have stays.
      - V(listed) only lists the backups.
      - V(absent) removes all backups of the tenant.
    type: str
    choices: [present, restored, listed, absent]
    default: present
  backup:
    description: Name of the backup. Needed for O(state=present) and O(state=restored).
    type: str
  confirm:
    description: For O(state=restored) and O(state=absent), the name of the tenant again.
    type: str
  image:
    description: Image with C(pg_dump) and C(pg_restore), not older than the server.
    type: str
    required: true
  uid:
    description: User number that the image runs as.
    type: int
    default: 999
  database:
    description: The tenant's schema, as the role that owns it reaches it from a pod. Needed for O(state=present) and O(state=restored).
    type: dict
    suboptions:
      host:
        description: Host of the server.
        type: str
        required: true
      port:
        description: Its port.
        type: str
        required: true
      dbname:
        description: Name of the database.
        type: str
        required: true
      schema:
        description: The schema.
        type: str
        required: true
      sslmode:
        description: How the connection is encrypted, as libpq has it.
        type: str
        required: true
      user:
        description: The role that owns the schema.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
  namespace:
    description: Namespace of the pod and of the volume claim.
    type: str
    default: barberpro-data
  keep:
    description: How many backups of a tenant are kept.
    type: int
    default: 10
  wait_timeout:
    description: Seconds that it may take.
    type: float
    default: 600.0
  run:
    description: The run that this is a step of, see M(barberpro.platform.transaction). Without it no lease is taken and no journal kept.
    type: dict
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Says that a backup would be taken or restored, without looking whether it is there.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: A backup that is there is not taken again; restoring always restores.
"""

EXAMPLES = r"""
- name: A backup before something risky
  barberpro.platform.backup:
    name: barbershop-palermo
    backup: before-cleaning
    image: "{{ images.postgresql }}"
    database: "{{ owner }}"

- name: Return to it
  barberpro.platform.backup:
    name: barbershop-palermo
    state: restored
    backup: before-cleaning
    confirm: barbershop-palermo
    image: "{{ images.postgresql }}"
    database: "{{ owner }}"
"""

RETURN = r"""
backup:
  description: Name of the backup.
  returned: success
  type: str
  sample: 2026-11-23T10-15-00Z-before-r4
backups:
  description: Names of the backups that are kept after the call. Empty in check mode unless O(state=listed).
  returned: success
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _backup, _module

DATABASE = {
    **{key: {"type": "str", "required": True} for key in ("host", "port", "dbname", "schema", "sslmode", "user")},
    "password": {"type": "str", "required": True, "no_log": True},
}


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(_backup.STATES), "default": "present"},
            "backup": {"type": "str"},
            "confirm": {"type": "str"},
            "image": {"type": "str", "required": True},
            "uid": {"type": "int", "default": 999},
            "database": {"type": "dict", "options": DATABASE},
            "namespace": {"type": "str", "default": "barberpro-data"},
            "keep": {"type": "int", "default": 10},
            "wait_timeout": {"type": "float", "default": 600.0},
            "run": {"type": "dict"},
        },
        required_if=[("state", "present", ("database",)), ("state", "restored", ("database",))],
        supports_check_mode=True,
    )
    _module.run(module, _backup.converge)


if __name__ == "__main__":
    main()
