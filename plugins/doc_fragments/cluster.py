# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options that say which cluster a module talks to, and the words for its attributes."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file that names the cluster and the identity to use.
      - When not given, the environment variable E(KUBECONFIG) is used.
      - Client certificates, tokens and C(exec) credential plugins are understood.
    type: path
  context:
    description: Context of the kubeconfig file to use instead of its current one.
    type: str
  request_timeout:
    description: Seconds that one answer of the API server may take before the request counts as failed.
    type: float
    default: 30.0
  outage_timeout:
    description:
      - Seconds that an API server which does not answer, or has just started and does not know anybody yet, is waited for.
      - A server that restarts in the middle of a run is ridden out by it; a wrong address is reported only after it.
    type: float
    default: 60.0
  node_timeout:
    description:
      - Seconds that a pod may be without a node before that counts as failed for good.
      - A cluster that adds nodes when pods wait for one needs minutes. With more than the default, too little room on the nodes that are there is
        no reason to refuse a deploy.
    type: float
    default: 15.0
requirements:
  - python >= 3.11
  - kubernetes >= 33
  - urllib3 >= 2.3
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what would change without writing anything.
  diff_mode:
    description: Returns what has changed (or would change) when run with C(--diff).
  idempotent:
    description: A second run with the same options and an unchanged cluster sends no write and reports no change.
  action_group:
    description: Use C(group/barberpro.platform.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - barberpro.platform.all
"""
