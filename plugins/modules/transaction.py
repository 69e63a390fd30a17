#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: transaction
version_added: 0.1.0
short_description: Keep two runs off one tenant, and record what a run means to do
description:
  - A run on a tenant holds its Lease and keeps a journal, both in the namespace C(barberpro-system). The modules of this collection that write
    do that by themselves when they are given O(run); this module does it for the steps of other modules, and looks at what an earlier run left.
  - The lease ends two minutes after its holder was last heard of, and at once when the holder was a process of this machine that is gone.
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  run:
    description:
      - This run, as returned by P(barberpro.platform.run_identity#filter), with C(content) (a hash of what it wants) and C(previous) (the revision
        to return to) added.
      - The lease lasts for two minutes behind its last renewal, or for as many seconds as C(lease_seconds) asks for beyond that.
    type: dict
    required: true
  state:
    description:
      - V(inspected) tells what is to be done with what an earlier run left, and fails when another run works on the tenant. It never writes.
      - An offboarding that was killed is gone on with by another one (a O(run) whose operation is C(offboard)); for every other run each state
        that begins something, and V(inspected), fails and says so.
      - V(begun) takes the lease and an open journal over, to clear it up.
      - V(renewed) renews the lease, if this run has it, for the C(lease_seconds) of O(run), before something that cannot renew it.
      - V(intended) records the intent of O(step) with what its undo needs, V(done) its outcome.
      - V(ended) closes the journal of this run and lets the lease go. One that this run goes on with is its own with its first write; where nothing
        was left to write, call V(begun) before.
    type: str
    required: true
    choices: [inspected, begun, renewed, intended, done, ended]
  step:
    description: Name of the step, for O(state=intended) and O(state=done).
    type: str
  undo:
    description: What the undo of O(step) needs to know, with O(state=intended). When a killed run noted something for the step, that is kept.
    type: dict
    default: {}
  outcome:
    description: How the run ended, with O(state=ended). V(open) leaves the journal open, so that the next run clears up.
    type: str
    choices: [succeeded, undone, open]
    default: succeeded
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Does what O(state=inspected) does, whatever is asked.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: A journal records that something happens.
seealso:
  - module: barberpro.platform.release
"""

EXAMPLES = r"""
- name: Is another run at work, and did one leave something behind
  barberpro.platform.transaction:
    name: barbershop-palermo
    run: "{{ run }}"
    state: inspected
  register: left

- name: Record that the schema is about to be made
  barberpro.platform.transaction:
    name: barbershop-palermo
    run: "{{ run }}"
    state: intended
    step: database
    undo: {schema: t_4f2a, existed: false}
"""

RETURN = r"""
next:
  description:
    - V(none) when there is nothing to do, V(adopt) when an unfinished run wanted the same and this one goes on with it, V(undo) when it wanted
      something else, V(finish) when it had succeeded but for tidying up.
  returned: success
  type: str
  sample: undo
fence:
  description:
    - How often the lease had changed hands. As C(fence) of O(run) it keeps a run from writing when somebody else has changed the tenant since.
  returned: O(state=inspected), and in check mode
  type: int
left_by:
  description: Who left an unfinished run behind, V("") when RV(next) is V(none).
  returned: success
  type: str
  sample: ana@runner-7 (deploy since 2026-11-23 00:31:39 UTC)
journal:
  description: The journal after the call, an empty dictionary when the tenant never had one.
  returned: success
  type: dict
  contains:
    run:
      description: The run that wrote it last.
      type: dict
    previous:
      description: The revision that served before, null when there was none.
      type: int
    unrecorded:
      description: Whether the tenant was there with no record of what served, so that what the run makes is not removed as a first deploy is.
      type: bool
    steps:
      description: C(step), C(intended) and C(done) (times of the API server, C(done) null when the outcome is unknown) and C(undo).
      type: list
      elements: dict
    closed:
      description: When the run ended, null as long as it has not.
      type: str
    outcome:
      description: How it ended.
      type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _transaction


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "run": {"type": "dict", "required": True},
            "state": {"type": "str", "required": True, "choices": list(_transaction.STATES)},
            "step": {"type": "str"},
            "undo": {"type": "dict", "default": {}},
            "outcome": {"type": "str", "choices": ["succeeded", "undone", "open"], "default": "succeeded"},
        },
        required_if=[("state", "intended", ["step"]), ("state", "done", ["step"])],
        supports_check_mode=True,
    )
    _module.run(module, _transaction.converge)


if __name__ == "__main__":
    main()
