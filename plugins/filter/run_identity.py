# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.run_identity``: who changes a tenant, so that others can be kept off it while that process lives."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_identity
short_description: Identify this run of a playbook on a tenant
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Returns what the option O(barberpro.platform.release#module:run) of the modules that write takes. Evaluate it once for each tenant and run.
options:
  _input:
    description: Name of the tenant.
    type: str
    required: true
  operation:
    description: What the run does, as a person would say it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say who this run is
  ansible.builtin.set_fact:
    run: "{{ 'barbershop-palermo' | barberpro.platform.run_identity('deploy') }}"
"""

RETURN = r"""
_value:
  description:
    - C(id), unique; C(tenant) and C(operation) as given; C(user) and C(host); C(began), UTC.
    - C(pid), C(pid_started), C(pid_namespace) and C(boot) of the process of ansible-playbook, by which other runs on the same machine see whether it lives.
  type: dict
"""

import getpass
import multiprocessing
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._lease import boot, pid_namespace, process_started


def run_identity(tenant: str, operation: str) -> dict[str, Any]:
    """Return the identity of the running playbook; see RETURN."""
    # A task is templated in a worker, which ends with the task: its parent is the process that lives as long as the run.
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getpid()
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "id": uuid.uuid4().hex,
        "tenant": str(tenant),
        "operation": str(operation),
        "user": user,
        "host": socket.gethostname(),
        "began": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "pid": pid,
        "pid_started": process_started(pid),
        "pid_namespace": pid_namespace(),
        "boot": boot(),
    }


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"run_identity": run_identity}
