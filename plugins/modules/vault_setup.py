#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise, unseal and configure the platform's own Vault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_setup
short_description: Initialise, unseal and configure the platform's own Vault
version_added: 0.1.0
description:
  - Initialises the Vault that C(deploy_platform.yml) runs in the namespace C(barberpro-vault), keeps its one unseal key in the Secret
    C(barberpro-vault/vault-unseal), and unseals it.
  - Sees to a transit engine, logins for Kubernetes and for the deployer (an AppRole, in the Secret C(barberpro-system/vault-deployer)),
    the policies of tenants and deployer, and the key that signs records.
  - The root token that it needs is made of the unseal key and given back at the end of the run.
  - Sees to a database engine too, which makes the passwords of tenants' roles in PostgreSQL.
  - Vault is reached by a port-forward to its pod.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: A root token is made and given back in check mode too, because what is there cannot be read without one. Nothing else is written.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  vault:
    description: Names of the mounts, C(transit), C(auth), C(approle) and C(database).
    type: dict
    required: true
  plugins:
    description: Digests (SHA-256) of what the image brings as plugins, by name, C(kubernetes) and C(postgresql-database-plugin). What is not named is built in.
    type: dict
    default: {}
  database:
    description: How Vault reaches PostgreSQL (C(host), C(port), C(name), C(user), C(password), C(sslmode), C(ca)). Without it Vault is told of none.
    type: dict
    default: {}
  wait_timeout:
    description: Seconds to wait until Vault answers.
    type: float
    default: 120.0
seealso:
  - module: barberpro.platform.tenant_key
"""

EXAMPLES = r"""
- name: Open and configure Vault
  barberpro.platform.vault_setup:
    vault: {transit: barberpro-transit, auth: barberpro-kubernetes, approle: barberpro-approle, database: barberpro-database}
"""

RETURN = r"""
abandoned:
  description:
    - Whether a run that was killed has initialised this Vault and kept no key, so that nobody can ever open it. Nothing is done to it then.
      C(deploy_platform.yml) puts its storage aside and begins anew.
  returned: success, not in check mode on a Vault that is closed
  type: bool
  sample: false
changes:
  description: What was written, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [sys/mounts/barberpro-transit]
version:
  description: Version of Vault.
  returned: success
  type: str
  sample: 1.21.0
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _vault_setup


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "vault": {"type": "dict", "required": True},
            "plugins": {"type": "dict", "default": {}},
            "database": {"type": "dict", "default": {}, "no_log": True},
            "wait_timeout": {"type": "float", "default": 120.0},
        },
        supports_check_mode=True,
    )
    _module.run(module, _vault_setup.converge)


if __name__ == "__main__":
    main()
