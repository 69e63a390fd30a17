# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup ``barberpro.platform.postgresql``: one row of a database, and who can log in."""

from __future__ import annotations

DOCUMENTATION = r"""
name: postgresql
short_description: Read one row of PostgreSQL, and try logins
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Asks queries in read-only transactions and tries logins, in the process of the task. A task of M(community.postgresql.postgresql_query) takes a
    second of one processor for the same, most of it for packing the module and importing its driver.
  - A server that does not answer is no error here but the C(problem) of what is returned, so that the caller says what it means to him.
options:
  _terms:
    description: Queries of one row, with C(%(name)s) for O(arguments).
    type: list
    elements: str
  arguments:
    description: Values of the queries.
    type: dict
    default: {}
  logins:
    description: Roles whose login is tried, each a dictionary of C(user) and C(password).
    type: list
    elements: dict
    default: []
  outage_timeout:
    description: Seconds that a server which is away is waited for before all of O(logins) are given up.
    type: float
    default: 0.0
  host:
    description: Where the server is.
    type: str
    required: true
  port:
    description: Port of the server.
    type: int
    default: 5432
  dbname:
    description: Name of the database.
    type: str
    required: true
  sslmode:
    description: How the connection is protected, as libpq names it.
    type: str
    default: require
  user:
    description: Role that asks the queries.
    type: str
    default: ''
  password:
    description: Its password.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Read whether a schema is there
  ansible.builtin.set_fact:
    answer: >-
      {{ lookup('barberpro.platform.postgresql', 'SELECT to_regnamespace(%(schema)s) IS NOT NULL AS there', arguments={'schema': 't_1'},
                host='db.example', dbname='barberpro', user='postgres', password=admin_password) }}
"""

RETURN = r"""
_raw:
  description:
    - For each query a dictionary of C(row), its first row by column, and C(problem), why there is none.
    - For each of O(logins), after them, a dictionary of C(user), C(problem), why the role cannot log in, empty when it can, and C(away), whether that is
      because the server was not back in time.
  type: list
  elements: dict
"""

import time
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._sql import AWAY, first_row, log_in


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return what was read; see RETURN."""
        self.set_options(var_options=variables, direct=kwargs)
        server = {key: to_plain(self.get_option(key)) for key in ("host", "port", "dbname", "sslmode", "user", "password")}
        arguments = to_plain(self.get_option("arguments"))
        rows = [_asked(server, str(query), arguments) for query in terms]
        until = time.monotonic() + to_plain(self.get_option("outage_timeout"))
        return rows + [_tried({**server, **login}, until) for login in to_plain(self.get_option("logins"))]


def _asked(server: dict[str, Any], query: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"row": first_row(server, query, arguments), "problem": ""}
    except CheckFailed as failed:
        return {"row": {}, "problem": failed.reason}


def _tried(values: dict[str, Any], until: float) -> dict[str, Any]:
    try:
        log_in(values, until)
    except CheckFailed as failed:
        return {"user": values["user"], "problem": failed.reason, "away": bool(AWAY.search(failed.reason))}
    return {"user": values["user"], "problem": "", "away": False}
