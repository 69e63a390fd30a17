#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: isolation_report
version_added: 0.1.0
short_description: Say who can reach whom among all tenants, and prove that nobody can
description:
  - Computes from the live NetworkPolicies which pods of a tenant could connect to which pods of another one, for all pairs of tenants, and
    names the exact path where one is open - from pod, to pod, port, and the policies that allow it on each side. Pods that have no address yet, or are
    not started yet, count as being in every address block in which they may come to be, by the nodes' ranges.
  - Evaluates RBAC for each identity of a tenant (its service accounts and the subjects of its role bindings) outside of its own namespace, and
    names the service accounts of namespaces that are neither a tenant's nor the platform's and have rights in a tenant's.
  - Compares what each tenant's quotas have counted with their limits, since creates that race with deletes can get past one.
  - With the credentials of a database administrator, tells which role of a tenant may use the schema of another one.
  - Where the platform has a Vault, tells who can use which tenant's key, the deployer that asks included.
  - Reads only. One list request per kind serves all tenants. What really connects is tried by M(barberpro.platform.isolation_probe).
author:
  - BarberPro operations (@barberpro)
options:
  names:
    description: Only pairs in which one of these tenants takes part, and what concerns them. By default all tenants.
    type: list
    elements: str
    default: []
  shared_namespaces:
    description:
      - Namespaces of the platform, with which tenants talk as their policies declare. These edges are listed, they are not findings.
      - A path between a tenant and any other namespace that is no tenant's is one.
      - Those that the platform says of itself are always among them, such as that of an existing gateway's proxies.
    type: list
    elements: str
    default: [barberpro-data, barberpro-gateway, barberpro-monitoring, barberpro-system, barberpro-vault, kube-system]
  platform_subjects:
    description:
      - Users and groups of the platform itself that are bound in tenants' namespaces, for example its operators, and service accounts of namespaces that
        are in no way its own, as NAMESPACE/NAME. They are no tenant's.
    type: list
    elements: str
    default: []
  max_paths:
    description: How many open paths to describe. The number of open pairs is complete in any case.
    type: int
    default: 100
  path:
    description:
      - Folder on the machine that runs this, in which C(isolation/TIME/isolation.json) and C(isolation.html) are written.
      - By default, and in check mode, nothing is written.
    type: path
  database:
    description: How to ask PostgreSQL as an administrator. By default the database is not looked at.
    type: dict
    suboptions:
      host:
        description: Host as this machine reaches it.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 5432
      name:
        description: Name of the database.
        type: str
        default: barberpro
      user:
        description: Role that may read the catalogue; any role may, but only an administrator sees all memberships.
        type: str
        default: postgres
      password:
        description: Its password.
        type: str
        default: ""
      sslmode:
        description: As libpq understands it.
        type: str
        default: require
      ca_file:
        description: Bundle of certificates for the server.
        type: path
      secret:
        description: Secret in each tenant's namespace whose key C(schema) names the tenant's schema. The tenant's roles are those named by it, SCHEMA_...
        type: str
        default: booking-database
      shared_schemas:
        description:
          - Schemas that tenants may use together, beside the platform's own C(shared). Creating objects there is a finding all the same, and so is
            a table in them whose rows are not bound to who has logged in by row-level security that is forced, with C(tenant = shared.tenant())
            as the whole of its policy.
        type: list
        elements: str
        default: []
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Reads only; the files of O(path) are not written.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: barberpro.platform.isolation_probe
"""

EXAMPLES = r"""
- name: Is every tenant isolated from every other
  barberpro.platform.isolation_report:
    path: reports
  register: isolation

- name: What concerns one tenant, its database included
  barberpro.platform.isolation_report:
    names: [barbershop-palermo]
    database:
      host: db.example.com
      password: "{{ database_admin_password }}"
"""

RETURN = r"""
isolated:
  description: Whether nothing was found.
  returned: success
  type: bool
summary:
  description: The result in one sentence.
  returned: success
  type: str
  sample: 1000 tenants, 999000 pairs, nobody reaches anybody
findings:
  description: Each open path, each right too many and each exceeded quota, as a sentence.
  returned: success
  type: list
  elements: str
  sample:
    - "tenant-a/web-1 reaches tenant-b/db-0 on TCP 5432: egress allowed by tenant-a/hole, ingress allowed by tenant-b/hole"
files:
  description: Paths of the files that were written.
  returned: when O(path) is given, not in check mode
  type: list
  elements: str
report:
  description: The whole document, as it stands in isolation.json.
  returned: success
  type: dict
  contains:
    generated:
      description: When it was made, in UTC.
      type: str
    tenants:
      description: The tenants that were looked at.
      type: list
      elements: str
    network:
      description: >-
        C(pairs) (ordered pairs of tenants), C(open_pairs), C(paths) (C(from), C(to), C(ports), the policies of C(egress) and C(ingress), C(sentence)),
        C(complete) (whether all paths are described), C(host_network) (tenants' pods that no policy governs), C(shared) (edges with the
        platform's namespaces), C(outside) (addresses that tenants may reach), C(without_pods), and how many C(pods), C(classes) and
        C(policies) were looked at.
      type: dict
    rbac:
      description: C(identities) and C(bindings) that were looked at, and C(findings) with C(subject), C(namespace), C(target) and C(sentence).
      type: dict
    quotas:
      description: C(quotas) is the number that was looked at; C(findings) have C(tenant) and C(sentence).
      type: dict
    sql:
      description: >-
        C(roles), C(schemas) and C(pairs) that were looked at, C(findings) with C(role), C(target) and C(sentence), and the tenants
        C(without_schema). Null when no O(database) is given.
      type: dict
    keys:
      description: C(keys) and C(logins) of Vault that were looked at, the tenants C(without_key), and C(findings). Null where the platform has no Vault.
      type: dict
    seconds:
      description: How long each part took, in seconds.
      type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _isolation, _module

SHARED = ["barberpro-data", "barberpro-gateway", "barberpro-monitoring", "barberpro-system", "barberpro-vault", "kube-system"]
DATABASE: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 5432},
    "name": {"type": "str", "default": "barberpro"},
    "user": {"type": "str", "default": "postgres"},
    "password": {"type": "str", "default": "", "no_log": True},
    "sslmode": {"type": "str", "default": "require"},
    "ca_file": {"type": "path"},
    "secret": {"type": "str", "default": "booking-database", "no_log": False},
    "shared_schemas": {"type": "list", "elements": "str", "default": []},
}


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "names": {"type": "list", "elements": "str", "default": []},
            "shared_namespaces": {"type": "list", "elements": "str", "default": SHARED},
            "platform_subjects": {"type": "list", "elements": "str", "default": []},
            "max_paths": {"type": "int", "default": 100},
            "path": {"type": "path"},
            "database": {"type": "dict", "options": DATABASE},
        },
        supports_check_mode=True,
    )
    _module.run(module, _isolation.report)


if __name__ == "__main__":
    main()
