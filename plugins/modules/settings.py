#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge the settings of a tenant's service through its admin API."""

from __future__ import annotations

DOCUMENTATION = r"""
module: settings
short_description: Converge the settings of a service of a tenant
version_added: 0.1.0
description:
  - Reads the settings of a service through its admin API, compares them with those wanted and writes them only when they differ.
  - The admin API is reached by a port-forward to a ready pod through the API server, so the runner needs no route to the pods and the API
    is never exposed.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
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
  port:
    description: Management port of the service.
    type: int
    default: 9090
  token_secret:
    description: Name of the Secret in O(namespace) whose key C(token) authenticates the caller to the admin API.
    type: str
    default: booking-admin
  settings:
    description: The whole settings document wanted.
    type: dict
    required: true
  wait_timeout:
    description: For how many seconds to wait for a ready pod and for a service that is not yet able to answer.
    type: int
    default: 60
  restore:
    description:
      - The settings are those that were in force a moment ago, and are put back whatever the service has against them by now. Customers may have
        booked in the meantime, and a service refuses another time zone that would move their bookings.
    type: bool
    default: false
  run:
    description: The run that this is a step of, see M(barberpro.platform.transaction). Without it no lease is taken and no journal kept.
    type: dict
seealso:
  - module: barberpro.platform.stage_gate
"""

EXAMPLES = r"""
- name: The business of the tenant
  barberpro.platform.settings:
    namespace: tenant-barbershop-palermo
    selector: app.kubernetes.io/component=booking,barberpro.platform/revision=r3
    settings: "{{ business }}"
  register: __pipeline_settings

- name: Undo it
  barberpro.platform.settings:
    namespace: tenant-barbershop-palermo
    selector: app.kubernetes.io/component=booking,barberpro.platform/revision=r2
    settings: "{{ __pipeline_settings.before }}"
    restore: true
  when: __pipeline_settings.before | length > 0
"""

RETURN = r"""
before:
  description: The settings before. Empty when the service had none.
  returned: success
  type: dict
after:
  description: The settings after, or in check mode those that would be.
  returned: success
  type: dict
fields:
  description: Paths of the fields that differ, for example V(staff[1].name).
  returned: success
  type: list
  elements: str
pod:
  description: The pod that was spoken to, as NAMESPACE/NAME.
  returned: success
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._settings import converge


def converge_settings(client: Client, options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Converge and return the module's result."""
    params = to_plain(options)
    outcome = converge(
        client,
        namespace=params["namespace"],
        selector=params["selector"],
        port=params["port"],
        token_secret=params["token_secret"],
        wanted=params["settings"],
        wait_timeout=params["wait_timeout"],
        restore=params["restore"],
        check_mode=check_mode,
        run=params["run"],
    )
    header = f"settings of {outcome.pod}"
    warnings = [f"What the service has now is not known, so all settings count as new: {outcome.unknown}"] if outcome.unknown else []
    return {
        "warnings": warnings,
        "changed": outcome.changed,
        "before": outcome.before,
        "after": outcome.after,
        "fields": outcome.fields,
        "pod": outcome.pod,
        "diff": {"before": outcome.before, "after": outcome.after, "before_header": header, "after_header": header},
    }


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "namespace": {"type": "str", "required": True},
            "selector": {"type": "str", "required": True},
            "port": {"type": "int", "default": 9090},
            "token_secret": {"type": "str", "default": "booking-admin", "no_log": False},
            "settings": {"type": "dict", "required": True},
            "wait_timeout": {"type": "int", "default": 60},
            "restore": {"type": "bool", "default": False},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, converge_settings)


if __name__ == "__main__":
    main()
