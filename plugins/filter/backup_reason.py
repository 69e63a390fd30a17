# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.backup_reason``: whether a backup is due before migrations."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_reason
short_description: Say why a schema must be backed up before migrations
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Migrations that were tried and can lose nothing need no backup. Any other may lose something, so that a backup is due.
options:
  _input:
    description: The migrations that are due, dictionaries of C(workload), C(from) and C(to).
    type: list
    elements: dict
    required: true
  rehearsal:
    description: Result of M(barberpro.platform.rehearsal), empty when nothing was tried.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Whether a backup is due
  ansible.builtin.debug:
    msg: "{{ [{'workload': 'booking', 'from': '0001', 'to': '0002'}] | barberpro.platform.backup_reason({}) }}"
"""

RETURN = r"""
_value:
  description: The reason as part of a sentence, empty when no backup is due.
  type: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _rehearsal_plan
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain


def backup_reason(due: Sequence[Any], rehearsal: Mapping[str, Any]) -> str:
    """Return the reason; see RETURN."""
    return _rehearsal_plan.backup_reason(to_plain(due), to_plain(rehearsal))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by name."""
        return {"backup_reason": backup_reason}
