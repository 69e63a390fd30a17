# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.pull_config``: the credentials that nodes need to pull images."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pull_config
short_description: Make the credentials with which nodes pull images
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Returns what a Secret of the type C(kubernetes.io/dockerconfigjson) holds under C(.dockerconfigjson). It has the credentials of the images'
    registries alone, whatever else the file holds.
options:
  _input:
    description: Path of a docker C(config.json) with credentials of registries.
    type: path
    required: true
  images:
    description: Image references.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Let nodes pull the services
  kubernetes.core.k8s:
    resource_definition:
      apiVersion: v1
      kind: Secret
      type: kubernetes.io/dockerconfigjson
      metadata: {name: registry, namespace: tenant-barbershop-palermo}
      stringData:
        .dockerconfigjson: "{{ '~/.docker/config.json' | barberpro.platform.pull_config([images.booking]) }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: The JSON text. It is secret.
  type: str
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.module_utils import _pull_config
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed


def pull_config(auth_file: str, images: Sequence[str]) -> str:
    """Return the text; see RETURN."""
    try:
        return _pull_config.pull_config(str(Path(str(auth_file)).expanduser()), [str(image) for image in images])
    except CheckFailed as failed:
        raise AnsibleFilterError(f"{failed.reason}; {failed.next_step}") from None


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return it by name."""
        return {"pull_config": pull_config}
