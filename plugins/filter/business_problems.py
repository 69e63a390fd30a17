# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.business_problems``: what the booking service would refuse of a business's settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: business_problems
short_description: Judge the settings of a business before anything is made of them
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Says what the booking service would refuse of the settings, by its own rules.
  - Time zones are judged by the runner's database. Where it has none, the service alone judges them.
options:
  _input:
    description: The whole settings, those of vertical and tenant merged.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What is wrong with the settings
  ansible.builtin.debug:
    msg: "{{ (barbershop_business | combine(business)) | barberpro.platform.business_problems }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem, with field, value and rule; none when the settings are good.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _business
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain


def business_problems(settings: Any) -> list[str]:
    """Return the sentences; see RETURN."""
    return _business.problems(to_plain(settings))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by name."""
        return {"business_problems": business_problems}
