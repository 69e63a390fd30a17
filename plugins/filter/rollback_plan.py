# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.rollback_plan``: what must be tried before an earlier revision serves again."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback_plan
short_description: Choose what to try before a roll back
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Compares the migrations that a kept revision's images know with those that the tenant's schema is at. Where the schema is ahead, the revision's code
    must be tried on it, by the migrations of an image that brings them.
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
  heads:
    description: The migration that each version table of the schema is at.
    type: dict
    required: true
  bringing:
    description: What newer images say, in the order in which they are taken.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: What must be tried
  ansible.builtin.debug:
    msg: "{{ workloads | barberpro.platform.rollback_plan(images_of_r1, said_of_r1, database_heads, said_of_newer) }}"
"""

RETURN = r"""
_value:
  description:
    - C(due), what the schema has beyond the revision's images, dictionaries of C(workload), C(from) and C(to); C(services), as
      M(barberpro.platform.rehearsal) takes them; C(untried), by workload why something cannot be tried; C(missing), what is due although no image is
      known that brings it.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _rehearsal_plan
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain


def rollback_plan(
    workloads: Mapping[str, Any], images: Mapping[str, str], said: Sequence[Any], heads: Mapping[str, str], bringing: Sequence[Any]
) -> dict[str, Any]:
    """Return what is due and how it is tried; see RETURN."""
    return _rehearsal_plan.rollback(to_plain(workloads), to_plain(images), to_plain(said), to_plain(heads), to_plain(bringing))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by name."""
        return {"rollback_plan": rollback_plan}
