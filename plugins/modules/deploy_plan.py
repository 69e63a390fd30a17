#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_plan
version_added: 0.1.0
short_description: Write down what a deploy of a tenant would do
description:
  - Puts together what the read-only calls of a run have found (a dry run of the release and of the tenant's infrastructure, what the
    database, the zone and the service say) to one plan, as C(plan.json) and as readable C(plan.txt).
  - Of the cluster it asks only the version; it changes nothing but these two files. Values of Secrets are never in them.
author:
  - BarberPro operations (@barberpro)
options:
  path:
    description: Folder of the reports. The files are written below it, in C(TENANT/TIME).
    type: path
    required: true
  tenant:
    description: Name of the tenant.
    type: str
    required: true
  release:
    description: Result of M(barberpro.platform.release) with O(barberpro.platform.release#module:state=planned).
    type: dict
    required: true
  infrastructure:
    description: Result of M(barberpro.platform.tenant) in check mode, for the credentials and the claim of the host name.
    type: dict
    default: {}
  database:
    description:
      - C(schema), its name; C(changes), what would be made or corrected, as sentences; C(migrations), a list of dictionaries with C(workload),
        C(image), C(table), C(from) and C(to).
    type: dict
    default: {}
  backup:
    description:
      - Which backup would be taken before the migrations of O(database), unless they are proven harmless. C(name), in which C(TIME) is still to come;
        C(claim), the volume claim; C(keep), how many are kept; C(rehearsed), result of the filter P(barberpro.platform.rehearsal_plan#filter), by which
        the run would try them.
      - Empty where the schema holds nothing that could be lost.
    type: dict
    default: {}
  dns:
    description: C(record), a dictionary of C(host), C(type), C(values) and C(previous); and C(changed), whether the run would write it.
    type: dict
    default: {}
  certificate:
    description: C(names), C(secret), and C(due), why it would be issued, empty when it would not.
    type: dict
    default: {}
  settings:
    description: Result of M(barberpro.platform.settings) in check mode.
    type: dict
    default: {}
  key:
    description: Result of M(barberpro.platform.tenant_key) in check mode, where tenants have keys.
    type: dict
    default: {}
  recovery:
    description: What would first be cleared up after a run that was killed, as a sentence.
    type: str
    default: ''
  keep:
    description: How many revisions the run would keep, O(barberpro.platform.release#module:keep).
    type: int
    default: 10
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: The files are what somebody who asks for a plan wants, so they are written in check mode too.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each call writes a folder of its own.
"""

EXAMPLES = r"""
# After barberpro.platform.release with state planned, registered as planned.
- name: Write down what a deploy would change
  barberpro.platform.deploy_plan:
    path: reports
    tenant: barbershop-palermo
    release: "{{ planned }}"
"""

RETURN = r"""
plan:
  description:
    - The plan as it is in C(plan.json). C(objects) lists each object that would change, with C(action), C(phase), C(before) and C(after).
  returned: success
  type: dict
  sample: {tenant: barbershop-palermo, changed: true, revision: {current: r3, planned: r4}}
text:
  description: The plan as it is in C(plan.txt).
  returned: success
  type: str
plan_path:
  description: Path of C(plan.json) on the runner.
  returned: success
  type: str
text_path:
  description: Path of C(plan.txt) on the runner.
  returned: success
  type: str
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils import _plan
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._module import CLUSTER_ARGUMENTS
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._report import iso, new_folder, server_version, write_whole


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the module."""
    module = new(
        argument_spec={
            **CLUSTER_ARGUMENTS,
            "path": {"type": "path", "required": True},
            "tenant": {"type": "str", "required": True},
            "release": {"type": "dict", "required": True},
            "infrastructure": {"type": "dict", "default": {}},
            "database": {"type": "dict", "default": {}},
            "backup": {"type": "dict", "default": {}},
            "dns": {"type": "dict", "default": {}},
            "certificate": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
            "key": {"type": "dict", "default": {}, "no_log": False},
            "recovery": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 10, "no_log": False},
        },
        supports_check_mode=True,
    )
    params = to_plain(module.params)
    kubernetes, unreachable = server_version(lambda: Client.from_options(params))
    if unreachable:
        module.warn(f"the plan does not say for which version of Kubernetes it was made: {unreachable.partition(': ')[2]}")
    plan = _plan.build(params, iso(time.time()), kubernetes)
    text = _plan.text(plan)
    try:
        folder = new_folder(os.path.join(params["path"], params["tenant"]), plan["made"])
        paths = [os.path.join(folder, name) for name in ("plan.json", "plan.txt")]
        write_whole(paths[0], json.dumps(plan, indent=2, ensure_ascii=False) + "\n")
        write_whole(paths[1], text)
    except OSError as error:
        module.fail_json(
            msg=f"the plan of tenant {params['tenant']} cannot be written: {error.strerror or error} ({error.filename or params['path']}); "
            "make room or name another path by pipeline_report_path"
        )
        return
    # The files are on the runner; of the tenant nothing has changed.
    module.exit_json(changed=False, plan=plan, text=text, plan_path=paths[0], text_path=paths[1])


if __name__ == "__main__":
    main()
