# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.scram``: what PostgreSQL keeps of a password, so that the password itself stays on the runner."""

from __future__ import annotations

DOCUMENTATION = r"""
name: scram
short_description: Make the SCRAM-SHA-256 verifier of a password
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Returns what C(ALTER ROLE ... PASSWORD) takes as an encrypted password (RFC 5803). PostgreSQL and a pooler that are given the same verifier
    accept the same login, and the pooler can pass it on to the server without knowing the password.
  - The salt is random, so evaluate it once for each password that is set.
options:
  _input:
    description: The password.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Set a password without sending it
  community.postgresql.postgresql_query:
    query: ALTER ROLE app PASSWORD %(verifier)s
    named_args:
      verifier: "{{ password | barberpro.platform.scram }}"
  no_log: true
"""

RETURN = r"""
_value:
  description: The verifier, C(SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY).
  type: str
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable

ITERATIONS = 4096
"""As PostgreSQL itself uses; the passwords are random, so more would only cost time at each login."""


def scram(password: str, salt: bytes | None = None) -> str:
    """Return the verifier of a password; ``salt`` is random unless it is given."""
    salt = os.urandom(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", str(password).encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters by name."""
        return {"scram": scram}
