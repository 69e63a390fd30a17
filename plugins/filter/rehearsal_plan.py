# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.rehearsal_plan``: which services of a release can be rehearsed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rehearsal_plan
short_description: Choose the services whose migrations can be tried
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Tells services whose migrations can be tried with the code that serves from those that cannot, and says of the latter why.
options:
  _input:
    description: The workloads that keep tables, by name, as the vertical declares them.
    type: dict
    required: true
  images:
    description: The images of the code that must go on working, by workload.
    type: dict
    required: true
  said:
    description: What these images say, as the lookup P(barberpro.platform.migrations#lookup) returns it.
    type: list
    elements: dict
    required: true
  new:
    description: The images to come, by workload.
    type: dict
    required: true
  due:
    description: The migrations that are due, dictionaries of C(workload), C(from) and C(to).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: What can be tried
  ansible.builtin.debug:
    msg: "{{ workloads | barberpro.platform.rehearsal_plan(serving, said, coming, due) }}"
"""

RETURN = r"""
_value:
  description:
    - C(services), as M(barberpro.platform.rehearsal) takes them, empty when there is nothing to try; and C(untried), by workload why migrations that
      are due cannot be tried.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _rehearsal_plan
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain


def rehearsal_plan(
    workloads: Mapping[str, Any], images: Mapping[str, str], said: Sequence[Any], new: Mapping[str, str], due: Sequence[Any]
) -> dict[str, Any]:
    """Return services and reasons; see RETURN."""
    return _rehearsal_plan.plan(to_plain(workloads), to_plain(images), to_plain(new), to_plain(said), to_plain(due))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by name."""
        return {"rehearsal_plan": rehearsal_plan}
