# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup ``barberpro.platform.record``: what a DNS zone says of a name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: record
short_description: Read a record of a DNS zone
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Asks the named server or else the zone's own name servers, which know of a change when resolvers still remember that the name did not exist.
  - Where these do not answer, as those of a private zone may not, the resolvers of the runner are asked.
  - That nobody answers is an error.
options:
  _terms:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  type:
    description: Type of the record.
    type: str
    choices: [A, AAAA, CNAME]
    default: A
  server:
    description: IP or name of the server to ask.
    type: str
    default: ""
  port:
    description: Port of the server.
    type: int
    default: 53
  zone:
    description: The zone of which the own name servers are asked when no O(server) is given.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Where a host points to
  ansible.builtin.debug:
    msg: "{{ query('barberpro.platform.record', 'barbershop-palermo.example.com', zone='example.com') }}"
"""

RETURN = r"""
_raw:
  description: Addresses in their shortest form, or names in lower case without the last dot, sorted. Empty where there is no such record.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.barberpro.platform.plugins.module_utils._dns import NameServers
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the values; see RETURN. Raises AnsibleLookupError with the sentence for the user."""
        self.set_options(var_options=variables, direct=kwargs)
        server, zone, kind = (str(self.get_option(key)) for key in ("server", "zone", "type"))
        try:
            servers = NameServers(server, int(self.get_option("port")), zone)
            return [value for term in terms for value in servers.ask(str(term), kind).values]
        except PlatformError as error:
            # Without the cause: Ansible would append it and say everything twice.
            raise AnsibleLookupError(error.message) from None
