#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Export the data of a tenant in open formats."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_export
short_description: Export the data of a tenant in open formats
version_added: 0.1.0
description:
  - Writes every table of the tenant's schema as JSON lines and as CSV, and C(SHA256SUMS) last.
  - Tables with customers' names and telephone numbers come from the services themselves, because only they can open what is sealed. The
    Deployments say which those are (annotation C(barberpro.platform/sealed-table)); the newest ready pod of each is asked.
  - The files hold personal data in the clear. They are made for the user who runs this alone (mode 0600).
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is read or written.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  namespace:
    description: Namespace of the services.
    type: str
    required: true
  schema:
    description: The tenant's schema.
    type: str
    required: true
  database:
    description: How to reach PostgreSQL as a role that may read the schema (C(host), C(port), C(name), C(user), C(password), C(sslmode), C(ca_file)).
    type: dict
    required: true
  path:
    description: Folder for the files on the machine that runs this.
    type: path
    required: true
seealso:
  - module: barberpro.platform.offboarding
"""

EXAMPLES = r"""
- name: Export the tenant
  barberpro.platform.tenant_export:
    namespace: tenant-barbershop-palermo
    schema: t_0123456789abcdef0123
    database: {host: 10.0.0.5, port: 5432, name: barberpro, user: t_0123456789abcdef0123_ro, password: "{{ password }}", sslmode: require}
    path: exports/barbershop-palermo
"""

RETURN = r"""
files:
  description: The files with their number of rows and their checksum; none in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: Name below RV(path).
      type: str
    rows:
      description: Number of rows.
      type: int
    sha256:
      description: Checksum.
      type: str
path:
  description: The folder.
  returned: success
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _export, _module


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "namespace": {"type": "str", "required": True},
            "schema": {"type": "str", "required": True},
            "database": {"type": "dict", "required": True, "no_log": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    _module.run(module, _export.export)


if __name__ == "__main__":
    main()
