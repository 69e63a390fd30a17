# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup ``barberpro.platform.object``: one Kubernetes object by its name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: object
short_description: Read one Kubernetes object by its name
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Reads an object as the API server has it, in the process of the task. A task of M(kubernetes.core.k8s_info) takes a second of one processor for
    the same, most of it for packing the module and importing its client.
  - An object that does not exist is an empty dictionary.
options:
  _terms:
    description: Names as C(NAMESPACE/NAME), or C(NAME) of what has no namespace.
    type: list
    elements: str
    required: true
  kind:
    description: The kind.
    type: str
    default: Secret
  api_version:
    description: Group and version of the kind.
    type: str
    default: v1
  kubeconfig:
    description: Path of the kubeconfig; the environment variable E(KUBECONFIG) when it is left out.
    type: path
  context:
    description: A context of the kubeconfig other than its current one.
    type: str
  outage_timeout:
    description: Seconds that an API server which does not answer is waited for.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: The password of a database role
  ansible.builtin.set_fact:
    password: "{{ lookup('barberpro.platform.object', 'tenant-barbershop-palermo/booking-database').data.password | b64decode }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The objects, each as the API server sends it, or empty.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the objects; see RETURN. Raises AnsibleLookupError with the sentence for the user."""
        self.set_options(var_options=variables, direct=kwargs)
        options = {key: value for key in ("kubeconfig", "context", "outage_timeout") if (value := to_plain(self.get_option(key)))}
        try:
            client = Client.from_options(options)
            resources = Resources(client)
            try:
                return [resources.get(self._ref(str(term))) or {} for term in terms]
            finally:
                client.close()
        except PlatformError as error:
            # Without the cause: Ansible would append it and say everything twice.
            raise AnsibleLookupError(error.message) from None

    def _ref(self, term: str) -> Ref:
        namespace, _slash, name = term.rpartition("/")
        return Ref(str(self.get_option("api_version")), str(self.get_option("kind")), namespace, name)
