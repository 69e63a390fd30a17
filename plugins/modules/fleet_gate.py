#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_gate
version_added: 0.1.0
short_description: Decide between the waves of a fleet whether a release may go on
description:
  - Asks after every wave whether more tenants went wrong than a good release explains, by a sequential test that may be asked as often as wanted (an
    e-process), and whether the failure budget is spent.
  - A tenant went wrong when its run failed, or when customers have met too many server errors of its new revision since, as Prometheus tells.
  - A tenant that was as asked already says nothing about the release and is left out.
  - Keeps the record of the fleet in ConfigMap C(fleet-NAME) in C(barberpro-system), so that a run whose runner died is resumed by another.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Judges in the same way and writes nothing, neither to the cluster nor to the disk.
  diff_mode:
    support: none
    details: A decision has no state before it.
  idempotent:
    support: partial
    details: The same outcomes give the same verdict. A fleet that is V(begun) again gets a new name.
options:
  state:
    description:
      - V(begun) opens the record of a fleet and, with O(resume), says which tenants are done.
      - V(judged) says whether the next wave may go on.
      - V(ended) closes the record and writes the report.
    type: str
    required: true
    choices: [begun, judged, ended]
  fleet:
    description: Name of the fleet, as V(begun) returned it. Required unless O(state=begun).
    type: str
  tenants:
    description: Names of all tenants of the fleet.
    type: list
    elements: str
    required: true
  release:
    description: What is deployed to all, in any one string, for example a hash of the images. A fleet is only resumed with the same.
    type: str
    default: ''
  settings:
    description:
      - What is deployed to each tenant beside that, in any one string by the tenant's name, for example a hash of its settings.
      - A tenant of O(tenants) for which it has changed is not done by a fleet that is resumed, and how it fared then does not count.
    type: dict
    default: {}
  resume:
    description:
      - Name of the fleet whose tenants that were done need not be deployed again.
      - How its tenants fared, and those of the fleet that it resumed itself, stays evidence and stays in the failure budget.
    type: str
    default: ''
  excused:
    description:
      - Tenants that went wrong in the resumed fleet for another reason than the release, by their gates or by what their customers met.
      - Their failures then no longer count. What failed is deployed again; of what serves the release only what its customers meet from now on counts.
    type: list
    elements: str
    default: []
  outcomes:
    description: How each tenant that was tried fared - C(tenant), C(result), C(revision) and C(error) as M(barberpro.platform.run_report) returns them.
    type: list
    elements: dict
    default: []
  null_rate:
    description: Share of tenants that may go wrong with a release that is good.
    type: float
    default: 0.05
  alpha:
    description: Highest probability that a good release is ever stopped by the test.
    type: float
    default: 0.01
  failure_budget:
    description: How many tenants may go wrong before the fleet is stopped in any case, as a number or as a share of the fleet (at least three).
    type: str
    default: 10%
  error_ratio:
    description: Share of requests to a new revision that may end in a server error.
    type: float
    default: 0.01
  minimum_requests:
    description: Fewer requests than this say nothing about a revision; its gates alone have the word then.
    type: int
    default: 50
  bake_seconds:
    description: Seconds for which O(state=judged) watches what customers meet on the revisions of the last wave before it says go on. V(0) for none.
    type: float
    default: 0.0
  path:
    description: Folder of the reports; O(state=ended) writes C(fleets/TIME/fleet.json) and C(fleet.html) below it.
    type: path
"""

EXAMPLES = r"""
- name: May the release go on to the next tenants
  barberpro.platform.fleet_gate:
    state: judged
    fleet: 20261123t043100z
    tenants: [barbershop-palermo, barbershop-recoleta, barbershop-belgrano]
    outcomes:
      - {tenant: barbershop-palermo, result: rolled_back, revision: r4, error: "stage testing failed: 1 of 3 checks"}
  register: verdict
"""

RETURN = r"""
fleet:
  description: Name of the fleet.
  returned: always
  type: str
release:
  description: What is deployed, as it was given.
  returned: when O(state=begun)
  type: str
done:
  description: Tenants that the resumed fleet had brought to this release.
  returned: when O(state=begun)
  type: list
  elements: str
stop:
  description: Whether the fleet stops here.
  returned: unless O(state=begun)
  type: bool
summary:
  description: The state of the fleet in one sentence.
  returned: unless O(state=begun)
  type: str
verdict:
  description: The figures behind the decision.
  returned: unless O(state=begun)
  type: dict
  contains:
    e_value: {description: Evidence against the release., type: float}
    limit: {description: Evidence at which a fleet stops., type: float}
    tried: {description: Number of tenants that were tried., type: int}
    counted: {description: "Number of tenants that are evidence, in this run and in those that it resumed.", type: int}
    as_asked: {description: "Number of tenants that are none, since they were as asked already.", type: int}
    few_requests: {description: Number of new revisions whose customers sent too few requests to judge them by., type: int}
    total: {description: Number of tenants of the fleet., type: int}
    failure_budget: {description: How many of them may go wrong., type: int}
    wrong: {description: Why a tenant went wrong by its name., type: dict}
    earlier: {description: "Why a tenant went wrong in an earlier run of the release, and not since, by its name.", type: dict}
    reason: {description: "Why the fleet stops, empty when it does not.", type: str}
    stop: {description: Whether it stops., type: bool}
files:
  description: Paths of the report.
  returned: when O(state=ended)
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_run
from ansible_collections.barberpro.platform.plugins.module_utils._module import CLUSTER_ARGUMENTS, run


def argument_spec() -> dict[str, Any]:
    """Return the module's argument spec."""
    return dict(
        CLUSTER_ARGUMENTS,
        state={"type": "str", "required": True, "choices": ["begun", "judged", "ended"]},
        fleet={"type": "str"},
        tenants={"type": "list", "elements": "str", "required": True},
        release={"type": "str", "default": ""},
        settings={"type": "dict", "default": {}},
        resume={"type": "str", "default": ""},
        excused={"type": "list", "elements": "str", "default": []},
        outcomes={"type": "list", "elements": "dict", "default": []},
        null_rate={"type": "float", "default": 0.05},
        alpha={"type": "float", "default": 0.01},
        failure_budget={"type": "str", "default": "10%"},
        error_ratio={"type": "float", "default": 0.01},
        minimum_requests={"type": "int", "default": 50},
        bake_seconds={"type": "float", "default": 0.0},
        path={"type": "path"},
    )


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Begin, judge or end a fleet."""
    module = new(
        argument_spec=argument_spec(),
        required_if=[("state", "judged", ("fleet",)), ("state", "ended", ("fleet",))],
        supports_check_mode=True,
    )
    run(module, _fleet_run.ACTIONS[module.params["state"]])


if __name__ == "__main__":
    main()
