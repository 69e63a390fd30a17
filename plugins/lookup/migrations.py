# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup ``barberpro.platform.migrations``: which migrations the images of services bring."""

from __future__ import annotations

DOCUMENTATION = r"""
name: migrations
short_description: Read from the registry which migrations images bring
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Reads the label C(platform.barberpro.migrations) of images from their registry, without pulling or running them.
  - An image that is not there, or a registry that does not answer, is no error here; the check C(image) of M(barberpro.platform.stage_gate)
    says so.
options:
  _terms:
    description: Image references.
    type: list
    elements: str
    required: true
  ca_file:
    description: Bundle of certificates for the registries.
    type: path
  auth_file:
    description: A docker C(config.json) with credentials of registries.
    type: path
"""

EXAMPLES = r"""
- name: The newest migration of an image
  ansible.builtin.debug:
    msg: "{{ lookup('barberpro.platform.migrations', images.booking).head }}"
"""

RETURN = r"""
_raw:
  description:
    - For each image a dictionary of C(image), C(table) (its version table), C(head) (its newest migration), both empty when the image does
      not say, and C(problem), why its labels could not be read.
  type: list
  elements: dict
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._image_labels import labels, migrations


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return what each image says; see RETURN."""
        self.set_options(var_options=variables, direct=kwargs)
        ca_file, auth_file = self.get_option("ca_file"), self.get_option("auth_file")
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(lambda term: _said(str(term), ca_file, auth_file), terms))


def _said(image: str, ca_file: str | None, auth_file: str | None) -> dict[str, str]:
    try:
        found = migrations(labels(image, ca_file, auth_file))
    except CheckFailed as failed:
        return {"image": image, "table": "", "head": "", "problem": failed.reason}
    table, head = found or ("", "")
    return {"image": image, "table": table, "head": head, "problem": ""}
