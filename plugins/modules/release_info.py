#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
version_added: 0.1.0
short_description: Show the kept revisions of one tenant
description:
  - Reads the record of a tenant and its kept revisions from the namespace C(barberpro-system).
author:
  - BarberPro operations (@barberpro)
options:
  name:
    description: Name of the tenant.
    type: str
    required: true
  revision:
    description: Also return the objects of this revision.
    type: int
  images:
    description: Also return which images the kept revisions run.
    type: bool
    default: false
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Reads only.
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Which revisions can we return to
  barberpro.platform.release_info:
    name: barbershop-palermo
  register: history
"""

RETURN = r"""
fence:
  description:
    - How often the tenant's lease had changed hands before anything else was read, V(-1) while another run was at work.
    - As C(fence) of the dictionary O(barberpro.platform.release#module:run) it keeps a run from writing when somebody else has changed the tenant since.
  returned: success
  type: int
  sample: 7
exists:
  description: Whether the tenant has a record.
  returned: success
  type: bool
current:
  description: The revision that customers are routed to, null when there is none.
  returned: success
  type: int
  sample: 4
pending:
  description: A revision that was staged and neither promoted nor undone, null when there is none.
  returned: success
  type: int
previous:
  description: The newest finished revision, null when no run has ended well yet.
  returned: success
  type: int
  sample: 4
highest:
  description: The highest revision number ever used, 0 when there is none.
  returned: success
  type: int
  sample: 4
revisions:
  description: The kept revisions, ascending.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: The revision's number.
      type: int
      sample: 4
    state:
      description: V(current), V(pending), V(kept), or V(unfinished) when the run that deployed it did not end well.
      type: str
      sample: current
    content_hash:
      description: Hash of its set of objects.
      type: str
    objects:
      description: Number of objects in its set.
      type: int
      sample: 27
    created:
      description: When it was stored.
      type: str
      sample: "2026-01-02T03:04:05Z"
images:
  description: The images of all containers of the kept revisions, sorted.
  returned: when O(images) is true
  type: list
  elements: str
objects:
  description: The objects of O(revision), values of Secrets redacted.
  returned: when O(revision) is given
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _info, _module


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **_module.CLUSTER_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "revision": {"type": "int"},
            "images": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    _module.run(module, _info.releases)


if __name__ == "__main__":
    main()
