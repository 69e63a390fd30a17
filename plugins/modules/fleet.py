#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet
version_added: 0.1.0
short_description: Deploy or roll back the objects of many tenants in one task
description:
  - Takes each tenant the way that M(barberpro.platform.tenant) and M(barberpro.platform.release) take one, side by side, over one pool of
    connections. What is live is read by one LIST a kind for fifty tenants, readiness by one watch a kind for all.
  - The whole set of a tenant is planned at once. Its intents are recorded before the first write and their outcome after the last, so that a
    call that was killed can be repeated. Objects of a namespace that does not exist yet are not tried before they are applied.
  - A tenant that fails is returned to the revision it had, or removed when it had none. The others go on, and the module fails at the end.
  - Covers what Kubernetes holds of a tenant. Database, DNS, the settings of the service and the gates are the business of C(deploy_vertical).
author:
  - BarberPro operations (@barberpro)
options:
  state:
    description:
      - V(deployed) brings every tenant to the given objects, all phases.
      - V(rolled_back) returns every tenant to a kept revision, route first, as M(barberpro.platform.release) does.
    type: str
    choices: [deployed, rolled_back]
    default: deployed
  tenants:
    description: The tenants. Each is named once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the tenant, an RFC 1123 label of at most 40 characters.
        type: str
        required: true
      namespace:
        description: The tenant's namespace, C(tenant-NAME) by default.
        type: str
      variables:
        description:
          - What differs in the templates from O(shared_variables), by top-level key.
          - The key C(tenant) gets C(name) and C(namespace) by itself.
        type: dict
        default: {}
      objects:
        description: The rendered set, in place of O(template_dirs) and variables.
        type: list
        elements: dict
        default: []
      credentials:
        description: Secrets of the tenant's namespace, as in M(barberpro.platform.tenant).
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
            description: Keys that are not secret, brought to these values.
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
            description: Keys that get a random value of 256 bits when they have none.
            type: list
            elements: str
            default: []
  template_dirs:
    description: Folders of templates, as for P(barberpro.platform.render#filter). They are compiled once.
    type: list
    elements: path
    default: []
  shared_variables:
    description: Variables of the templates that all tenants have in common.
    type: dict
    default: {}
  phases:
    description: Only these phases of the templates, all without.
    type: list
    elements: str
    choices: [infrastructure, workloads, promotion, monitoring]
  to_revision:
    description: The kept revision for O(state=rolled_back). Without it, each tenant returns to its newest one before the current.
    type: int
  concurrency:
    description: Requests that are under way at the same time.
    type: int
    default: 16
  requests_per_second:
    description: Requests that are sent in a second at most, for a cluster that has other things to do. V(0) sets no limit.
    type: float
    default: 0.0
  preflight_namespace:
    description: In check mode, namespace in which the objects of a namespace that does not exist yet are tried by dry run.
    type: str
    default: barberpro-preflight
  keep:
    description: Number of revisions of each tenant to keep.
    type: int
    default: 10
  force_conflicts:
    description: Take over fields that another field manager has set. Without it such a field is an error that names the manager.
    type: bool
    default: false
  guarded:
    description: Wait until the platform's admission policies guard a new namespace, as M(barberpro.platform.tenant) does.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that one tenant may take to become ready.
    type: float
    default: 600.0
  run:
    description:
      - The run that this is a step of, see P(barberpro.platform.run_identity#filter). Each tenant that is changed gets its lease and its journal.
      - What a killed run has left of a tenant is gone on with where it wanted the same, and undone first where it did not, unless it has begun more
        than objects; then the tenant fails, since only the playbooks can clear that up.
      - Without it neither is written, and a tenant that another run works on or has left half-done fails.
    type: dict
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: By dry run on the API server. RV(tenants) then lists the changes of each.
  diff_mode:
    support: none
    details: The differences of a thousand tenants are nothing to read; use check mode, or M(barberpro.platform.release) for one tenant.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Deploy all tenants of the inventory, at most 100 requests a second
  barberpro.platform.fleet:
    template_dirs: "{{ template_dirs }}"
    shared_variables: "{{ context_of_all }}"
    tenants: "{{ groups['tenants'] | map('community.general.dict_kv', 'name') | list }}"
    requests_per_second: 100
  run_once: true

- name: Return two tenants to the revision before
  barberpro.platform.fleet:
    state: rolled_back
    tenants:
      - name: barbershop-palermo
      - name: barbershop-recoleta
"""

RETURN = r"""
tenants:
  description: What became of each tenant, in the order in which they were given; also when the module fails.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The tenant.
      type: str
      sample: barbershop-palermo
    result:
      description: C(changed), C(unchanged) or C(failed).
      type: str
      sample: changed
    changed:
      description: Whether anything was written.
      type: bool
    revision:
      description: The revision that serves after the call.
      type: str
      sample: r4
    counts:
      description: Number of objects that were C(created), C(changed), C(deleted) and C(unchanged).
      type: dict
      sample: {created: 20, changed: 0, deleted: 0, unchanged: 0}
    changes:
      description: Each object that would change, in check mode.
      type: list
      elements: dict
    msg:
      description: Why it failed.
      type: str
    undone:
      description: Whether what a failed one had changed was undone.
      type: bool
    undo_msg:
      description: What undoing did.
      type: str
      sample: returned to r3
    recovered:
      description: What was done about a run that was killed on this tenant, or would be, in check mode.
      type: str
      sample: the run of ana@runner-7 (deploy since 2026-11-23 04:31:00 UTC) was killed; it was first undone
    seconds:
      description: Time that the tenant took, its share of the waiting included.
      type: float
objects:
  description: Number of objects of all tenants by what happened to them.
  returned: always
  type: dict
  sample: {created: 20000, changed: 0, deleted: 0, unchanged: 0}
summary:
  description: Number of tenants that were C(changed), C(unchanged) and C(failed), and C(seconds) of the whole.
  returned: always
  type: dict
  sample: {changed: 1000, unchanged: 0, failed: 0, seconds: 48.2}
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _fleet, _module, _tenant


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    tenant = {
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str"},
        "variables": {"type": "dict", "default": {}},
        "objects": {"type": "list", "elements": "dict", "default": []},
        "credentials": _tenant.CREDENTIALS,
    }
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "state": {"type": "str", "choices": list(_fleet.STATES), "default": "deployed"},
            "tenants": {"type": "list", "elements": "dict", "required": True, "options": tenant},
            "template_dirs": {"type": "list", "elements": "path", "default": []},
            "shared_variables": {"type": "dict", "default": {}},
            "phases": {"type": "list", "elements": "str", "choices": ["infrastructure", "workloads", "promotion", "monitoring"]},
            "to_revision": {"type": "int"},
            "concurrency": {"type": "int", "default": 16},
            "requests_per_second": {"type": "float", "default": 0.0},
            "preflight_namespace": {"type": "str", "default": "barberpro-preflight"},
            "keep": {"type": "int", "default": 10},
            "force_conflicts": {"type": "bool", "default": False},
            "guarded": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 600.0},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    limits = {"concurrency": module.params["concurrency"], "requests_per_second": module.params["requests_per_second"]}
    _module.run(module, _fleet.converge, **limits)


if __name__ == "__main__":
    main()
