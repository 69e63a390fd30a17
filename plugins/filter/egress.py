# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.egress``: the addresses outside of the cluster that a tenant's workloads declare."""

from __future__ import annotations

DOCUMENTATION = r"""
name: egress
short_description: Judge and complete what a tenant's workloads may reach outside of the cluster
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Says what is wrong with a declaration, or completes it for the network policies - the cluster's own addresses are left out of wider ranges.
options:
  _input:
    description: Lists of C(cidr), C(port) and C(protocol) by workload.
    type: dict
    required: true
  workloads:
    description: Names of the workloads that the vertical has.
    type: list
    elements: str
    required: true
  internal:
    description: Ranges in which the cluster's own addresses are.
    type: list
    elements: str
    default: []
  targets:
    description: HOST:PORT, HOST an address, that is tried from the workloads.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: What booking may reach
  ansible.builtin.debug:
    msg: "{{ {'booking': [{'cidr': '203.0.113.0/24', 'port': 443}]} | barberpro.platform.egress(['booking']) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problems), a list of sentences. Without any, C(rules), lists by workload of C(cidr), C(except), C(port) and C(protocol), and C(open), the
      targets by workload that these allow.
  type: dict
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.module_utils import _egress
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain


def egress(declared: Any, workloads: Sequence[str], internal: Sequence[str] = (), targets: Sequence[str] = ()) -> dict[str, Any]:
    """Return problems, rules and open targets; see RETURN. Raises AnsibleFilterError for internal ranges or targets that are none."""
    declared, workloads, internal, targets = (to_plain(value) for value in (declared, list(workloads), list(internal), list(targets)))
    try:
        problems = _egress.problems(declared, workloads, internal)
        rules = {} if problems else _egress.rules(declared, internal)
        reached = {name: [target for target in targets if _egress.reaches(rules.get(name, []), target)] for name in workloads}
    except ValueError as error:
        raise AnsibleFilterError(f"egress: {error}; correct pipeline_internal_cidrs or pipeline_outside_targets") from error
    return {"problems": problems, "rules": rules, "open": reached}


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by name."""
        return {"egress": egress}
