#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: isolation_probe
version_added: 0.1.0
short_description: Really try what a tenant's pods can connect to
description:
  - Runs one pod with the labels of a tenant's workload that is never ready (so that no Service sends customers to it), tries each target from
    it, compares what answers with what is declared, and removes the pod.
  - What must be closed is tried by every address of its name, several times side by side. One connection settles it, and so does one that the target
    itself refuses, since the network let that through; a rejection by the network (ICMP) is closed.
  - A Service of O(closed) that has no ready pod is left out and named in RV(evidence), since nobody could answer, whatever the network lets through.
  - It is the check C(reach) that every deploy runs in its stage of tests, at any other time. What would be open for all pairs of tenants is
    computed by M(barberpro.platform.isolation_report).
author:
  - BarberPro operations (@barberpro)
options:
  namespace:
    description: Namespace of the probe pod.
    type: str
    required: true
  image:
    description: Image that has the probe (C(python -m barberpro_service.probe)); that of any of the tenant's services does.
    type: str
    required: true
  labels:
    description: Labels of the probe pod, so that the tenant's policies select it as they select the workload.
    type: dict
    required: true
  open:
    description: Targets as HOST:PORT that must accept a connection, for example the tenant's own declared edges.
    type: list
    elements: str
    default: []
  closed:
    description: Targets as HOST:PORT that must not, for example another tenant's services. They must be ones that answer who is let through.
    type: list
    elements: str
    default: []
  service_account:
    description: Service account of the probe pod.
    type: str
    default: default
  timeout:
    description: Seconds to wait for one connection.
    type: int
    default: 2
  settle:
    description: Seconds that the probe waits before its first attempt, for a network that applies its rules some seconds after a pod has started.
    type: int
    default: 0
  pull_secrets:
    description: Names of Secrets to pull the image with.
    type: list
    elements: str
    default: []
  deadline:
    description: How long the probe may take in all, in seconds, its start included.
    type: float
    default: 90
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: A pod would have to be made, so nothing is tried and RV(outcome) is V(skipped).
  diff_mode:
    support: none
  idempotent:
    support: full
    details: The pod is removed again, whatever it saw.
seealso:
  - module: barberpro.platform.isolation_report
  - module: barberpro.platform.stage_gate
"""

EXAMPLES = r"""
- name: The booking pods reach the database and no neighbour
  barberpro.platform.isolation_probe:
    namespace: tenant-barbershop-palermo
    image: "{{ images.booking }}"
    service_account: booking
    labels:
      app.kubernetes.io/component: booking
      barberpro.platform/tenant: barbershop-palermo
      barberpro.platform/database: "true"
    open:
      - postgresql.barberpro-data.svc:5432
    closed:
      - booking-r4.tenant-barbershop-recoleta.svc:8080
      - 1.1.1.1:443
"""

RETURN = r"""
outcome:
  description: V(passed), V(failed) or, in check mode, V(skipped).
  returned: always
  type: str
evidence:
  description: What was seen, in one sentence.
  returned: always
  type: str
  sample: 1 target open and 2 targets closed as declared, tried from a pod
elapsed_seconds:
  description: How long it took, in seconds.
  returned: always
  type: float
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._gate import plan_checks, run_gate
from ansible_collections.barberpro.platform.plugins.module_utils._module import CLUSTER_ARGUMENTS
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain

# Pull secrets are given by name.
REACH = {name: {**option, "no_log": False} if name == "pull_secrets" else option for name, option in CHECKS["reach"].argument_spec().items()}


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the check and translate its outcome into the module's result."""
    module = new(argument_spec={**CLUSTER_ARGUMENTS, **REACH, "deadline": {"type": "float", "default": 90.0}}, supports_check_mode=True)
    params = to_plain(module.params)
    check = {"check": "reach", **{name: params[name] for name in REACH}}
    planned = plan_checks([check], CHECKS, params["deadline"], check_mode=module.check_mode)
    clients = Clients(lambda: Client.from_options(params), params.get("kubeconfig"), params.get("context"))
    gate = run_gate("isolation", params["deadline"] + 1, None, planned, clients)
    (seen,) = gate.outcomes
    result = {key: value for key, value in seen.document().items() if key in ("outcome", "evidence", "elapsed_seconds")}
    if seen.outcome == "failed":
        module.fail_json(msg=seen.evidence, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
