#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release
version_added: 0.1.0
short_description: Take one tenant's release through its states, and back
description:
  - A release is the set of objects that one deploy of a tenant consists of. Each set is kept as a numbered, immutable revision in
    the namespace C(barberpro-system); the newest O(keep) of them can be returned to.
  - The new revision comes up beside the running one and takes over by a change of the route, so that customers are always served.
  - Only objects that this collection has created for the tenant are ever changed or deleted.
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  namespace:
    description: Namespace of the tenant. When not given it is C(tenant-) and the name.
    type: str
  objects:
    description:
      - The whole rendered set, all phases, as returned by P(barberpro.platform.render#filter). The token C(@revision@) stands for the revision.
      - Needed for all states but V(reverted) and V(rolled_back); V(finished) takes the stored set of the promoted revision without.
    type: list
    elements: dict
    default: []
  state:
    description:
      - V(planned) tells what a deploy of O(objects) would do. It never writes.
      - V(staged) stores the revision, brings its workloads up beside the running ones and waits for them.
      - V(promoted) moves the route to the revision, waits until the gateway has accepted it and records the revision as current.
      - V(monitored) applies the monitoring objects.
      - V(finished) deletes what the revision does not own and trims the history.
      - V(reverted) undoes an unfinished run, the route first. A first deploy is removed with its namespace,
        but not where its journal (O(run)) says that the tenant was there before it and only its record was not.
      - V(rolled_back) brings a kept revision up, moves the route back to it and deletes what it does not own.
    type: str
    required: true
    choices: [planned, staged, promoted, monitored, finished, reverted, rolled_back]
  previous:
    description:
      - For O(state=reverted), the revision that was in service before the run, RV(previous) of the run's V(planned) call.
        Not giving it says that there was none.
    type: int
  to_revision:
    description: For O(state=rolled_back), the revision to return to. When not given, the newest kept one before the current.
    type: int
  preflight_namespace:
    description: Namespace in which the objects of a tenant that does not exist yet are tried on the server.
    type: str
    default: barberpro-preflight
  keep:
    description: Number of revisions to keep.
    type: int
    default: 10
  force_conflicts:
    description: Take over fields that another field manager has set. Without it such a field is an error that names the manager.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for workloads or the gateway. What cannot become ready any more fails at once.
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
    details: By dry run on the API server; RV(changes) are those the same call would make.
  diff_mode:
    support: full
    details: Without server-side bookkeeping fields, and with the values of Secrets redacted.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: What would a deploy change
  barberpro.platform.release:
    name: barbershop-palermo
    objects: "{{ release_objects }}"
    state: planned
  register: plan

- name: Bring the new revision up beside the running one
  barberpro.platform.release:
    name: barbershop-palermo
    objects: "{{ release_objects }}"
    state: staged

- name: Return to what was in service before this run
  barberpro.platform.release:
    name: barbershop-palermo
    state: reverted
    previous: "{{ plan.previous }}"

- name: Return to revision 3
  barberpro.platform.release:
    name: barbershop-palermo
    state: rolled_back
    to_revision: 3
"""

RETURN = r"""
revision:
  description: The revision that the call was about. V(none) after a first deploy was removed.
  returned: success
  type: str
  sample: r4
number:
  description: RV(revision) as a number, null after a first deploy was removed.
  returned: success
  type: int
  sample: 4
current:
  description: The revision that customers are routed to after the call, null when there is none.
  returned: success
  type: int
  sample: 3
pending:
  description: The revision that is staged but not promoted, null when there is none.
  returned: success
  type: int
previous:
  description: The revision to return to when the run that begins now fails, the newest finished one. Null before a first deploy has ended.
  returned: success
  type: int
  sample: 3
kept:
  description: Numbers of the revisions that can be returned to, ascending.
  returned: success
  type: list
  elements: int
  sample: [1, 3, 4]
content_hash:
  description: Hash of the set of objects, the same for the same content whatever its revision number.
  returned: success
  type: str
new_tenant:
  description: Whether the tenant's namespace did not exist when the call began.
  returned: success
  type: bool
changes:
  description: Objects that differ and what happened (in check mode and when planned, would happen) to each. Unchanged ones are not listed.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: Kind, namespace and name.
      type: str
      sample: Deployment tenant-barbershop-palermo/booking-r4
    action:
      description: C(created), C(changed) or C(deleted).
      type: str
      sample: created
    phase:
      description: Phase that the object belongs to, C(infrastructure), C(workloads), C(promotion) or C(monitoring).
      type: str
      sample: workloads
fence:
  description:
    - How often the tenant's lease had changed hands before anything else was read, V(-1) while another run was at work.
    - As C(fence) of the dictionary O(run) it keeps a run from writing when somebody else has changed the tenant since.
  returned: when O(state=planned)
  type: int
  sample: 7
differences:
  description: Each object of RV(changes) before and after, also without C(--diff), with the values of Secrets redacted.
  returned: when O(state=planned), and in check mode
  type: list
  elements: dict
unchanged:
  description: Number of objects that are as asked.
  returned: success
  type: int
waited_seconds:
  description: Seconds spent waiting for workloads or the gateway.
  returned: success
  type: float
removed_tenant:
  description: Whether O(state=reverted) removed a first deploy with its namespace.
  returned: success
  type: bool
failures:
  description: What did not become ready, with its evidence.
  returned: when workloads or the gateway failed
  type: list
  elements: dict
  contains:
    object:
      description: Kind, namespace and name.
      type: str
      sample: Deployment tenant-barbershop-palermo/booking-r4
    reason:
      description: The cause in one sentence.
      type: str
      sample: "pod booking-r4-6d5f7 container booking: image localhost/does-not-exist:1 cannot be pulled: manifest unknown"
    final:
      description: Whether it could not heal (true) or the time was up (false).
      type: bool
    events:
      description: Last warning events of the object and its pods.
      type: list
      elements: str
    log:
      description: Last lines of the failing container.
      type: list
      elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _module, _release


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "objects": {"type": "list", "elements": "dict", "default": []},
            "state": {"type": "str", "required": True, "choices": list(_release.STATES)},
            "previous": {"type": "int"},
            "to_revision": {"type": "int"},
            "preflight_namespace": {"type": "str", "default": "barberpro-preflight"},
            "keep": {"type": "int", "default": 10},
            "force_conflicts": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 600.0},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    _module.run(module, _release.converge)


if __name__ == "__main__":
    main()
