# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.render``: template folders and a tenant's context in, Kubernetes objects out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: render
short_description: Render the objects of a tenant
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Renders every C(*.yml.j2) of the template folders with the tenant's context and returns the Kubernetes objects, by phase, folder and
    file name.
  - Each object carries the annotation of its phase, the common labels and, where its kind has one, a namespace.
  - An undefined variable is an error that names the variable, the template and the tenant.
positional: _input, context, phases
options:
  _input:
    description: Folders with one folder a phase (infrastructure, workloads, promotion, monitoring).
    type: list
    elements: path
    required: true
  context:
    description: The variables of the templates. C(tenant.name) and C(tenant.namespace) are required.
    type: dict
    required: true
  phases:
    description: Only these phases.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: The objects of the tenant
  ansible.builtin.set_fact:
    objects: "{{ template_dirs | barberpro.platform.render(context) }}"
"""

RETURN = r"""
_value:
  description: The objects.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._render import RenderError, render


def render_filter(
    template_dirs: Sequence[str] | str, context: Mapping[str, Any], phases: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Render; raises AnsibleFilterError with the sentence for the user."""
    try:
        return render(to_plain(template_dirs), to_plain(context), to_plain(phases))
    except RenderError as error:
        # Without the cause: Ansible would append it and say everything twice.
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"render": render_filter}
