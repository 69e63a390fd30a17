#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal
version_added: 0.1.0
short_description: Try migrations against the code that serves, before a tenant's database is touched
description:
  - Runs a pod in the preflight namespace that brings a scratch schema to what the serving images know, puts a row into every table, runs the
    migrations of the new images there, and after each statement every query of the serving images, as the role that serves.
  - Says which statement breaks which query, what a linter (squawk) says about locks, and which statements could lose data.
  - The scratch schema is made and dropped by the caller. No data and no credentials of the tenant are used.
  - It does not fail when a migration breaks something; the check C(migrations) of M(barberpro.platform.stage_gate) judges the result.
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  serving:
    description: Number of the revision that serves, or that a roll back returns to.
    type: int
    required: true
  services:
    description: The services that keep tables.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the workload.
        type: str
        required: true
      command:
        description: How the rehearsal is called in its container.
        type: list
        elements: str
        required: true
      old:
        description: Image whose code must work on the schema afterwards.
        type: str
        required: true
      new:
        description: Image that brings the migrations.
        type: str
        required: true
      migrates:
        description: Whether its migrations are tried.
        type: bool
        required: true
  database:
    description: The scratch schema, as the role that owns it reaches it from a pod.
    type: dict
    required: true
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
        description: The scratch schema.
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
  role:
    description: The role that serves in the scratch schema. The owner may act for it.
    type: str
    required: true
  namespace:
    description: Namespace of the pod.
    type: str
    default: barberpro-preflight
  pull_secrets:
    description: Secrets to pull the images with.
    type: list
    elements: str
    default: []
  wait_timeout:
    description: Seconds that the rehearsal may take.
    type: float
    default: 240.0
  run:
    description: The run that this belongs to, see M(barberpro.platform.transaction). Its lease is kept while the pod runs.
    type: dict
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: partial
    details: A rehearsal needs a pod. In check mode nothing is tried and nothing found.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: What it makes, it removes.
"""

EXAMPLES = r"""
- name: Try the migrations
  barberpro.platform.rehearsal:
    name: barbershop-palermo
    serving: 3
    services:
      - name: booking
        command: [python, -m, barberpro_booking.rehearse]
        old: registry.example/booking@sha256:...
        new: registry.example/booking@sha256:...
        migrates: true
    database: "{{ scratch }}"
    role: x_0123456789_app
"""

RETURN = r"""
serving:
  description: As given.
  returned: success
  type: int
tried:
  description: The services whose migrations were tried.
  returned: success
  type: list
  elements: str
statements:
  description: The statements of the migrations in their order, with C(service), C(sql), and C(loses), how it could lose data (empty when it cannot).
  returned: success
  type: list
  elements: dict
losing:
  description: Those of RV(statements) that could lose data.
  returned: success
  type: list
  elements: dict
broken:
  description: For each serving service that does not work any more, C(service), C(statement), C(query) and C(reason).
  returned: success
  type: list
  elements: dict
failures:
  description: Migrations that fail, with C(service), C(step) and C(reason).
  returned: success
  type: list
  elements: dict
findings:
  description: What the linter says about locks, with C(statement), C(rule), C(message), C(help), and whether it is C(refused).
  returned: success
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _rehearsal

SERVICE = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "old": {"type": "str", "required": True},
    "new": {"type": "str", "required": True},
    "migrates": {"type": "bool", "required": True},
}

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
            "serving": {"type": "int", "required": True},
            "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE},
            "database": {"type": "dict", "required": True, "options": DATABASE},
            "role": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": "barberpro-preflight"},
            "pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "wait_timeout": {"type": "float", "default": 240.0},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _rehearsal.converge)


if __name__ == "__main__":
    main()
