# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.verticals``: which roles of a folder are verticals."""

from __future__ import annotations

DOCUMENTATION = r"""
name: verticals
short_description: List the roles that are verticals
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - A vertical is a role that inherits the base template, that is, names it among the dependencies of its C(meta/main.yml).
  - So a new vertical is known as soon as its folder is there, and no list has to be kept.
options:
  _input:
    description: Folder of the roles.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Which verticals can be deployed
  ansible.builtin.debug:
    msg: "{{ (role_path ~ '/..') | barberpro.platform.verticals }}"
"""

RETURN = r"""
_value:
  description: Names of the verticals, sorted.
  type: list
  elements: str
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

BASE = "barberpro.platform.vertical_base"


def _inherits_base(meta: Path) -> bool:
    """Return whether a role's ``meta/main.yml`` names the base template as a dependency."""
    document = yaml.safe_load(meta.read_text(encoding="utf-8")) or {}
    named = [d.get("role") if isinstance(d, dict) else d for d in document.get("dependencies") or []]
    return BASE in named


def verticals(roles: str) -> list[str]:
    """Return the names of the roles below the folder ``roles`` that inherit the base template, sorted."""
    return sorted(meta.parent.parent.name for meta in Path(str(roles)).glob("*/meta/main.yml") if _inherits_base(meta))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"verticals": verticals}
