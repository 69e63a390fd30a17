#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a run: JSON for machines, one HTML page for people, a copy in the cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_report
short_description: Write the report of a run
version_added: 0.1.0
description:
  - Writes C(report.json) and a self-contained C(report.html) below O(path)/TENANT/TIME, and keeps the JSON in the cluster because the disk
    of a runner may not
    outlive its job.
  - A report that cannot be written never hides the outcome of the run. It becomes a warning, and the other copy is still made.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: full
    details: Returns the document and writes nothing, neither to the disk nor to the cluster.
  diff_mode:
    support: none
    details: A report is new every time, so there is nothing to compare.
  idempotent:
    support: none
    details: Every run has a report of its own.
options:
  path:
    description: Folder of the reports on the runner.
    type: path
    required: true
  tenant:
    description: Name of the tenant.
    type: str
    required: true
  vertical:
    description: Vertical of the tenant.
    type: str
    required: true
  revision:
    description: Revision that the run was about, for example V(r3). Empty when the run ended before one was planned.
    type: str
    default: ''
  result:
    description: How the run ended.
    type: str
    required: true
    choices: [succeeded, unchanged, failed, rolled_back]
  started:
    description: When the run began, in seconds since the epoch.
    type: float
    required: true
  finished:
    description: When the run ended, in seconds since the epoch. Now, by default.
    type: float
  stages:
    description: The stages in the order they ran, each as M(barberpro.platform.stage_gate) returns it.
    type: list
    elements: dict
    default: []
  planned_stages:
    description: All stages of the run with C(name) and C(budget_seconds), so that those not reached are shown as such.
    type: list
    elements: dict
    default: []
  diff:
    description:
      - What changed. A list of dictionaries with C(before) and C(after) (text or data) and optionally C(before_header) and C(after_header),
        or with C(prepared) text,
        as modules return it.
      - Values of Secrets are replaced before anything is written.
    type: list
    elements: dict
    default: []
  objects:
    description: The objects of the run with what was done to each (C(object) and C(action)), as the M(barberpro.platform.release) module
      returns them.
    type: list
    elements: dict
    default: []
  versions:
    description: Versions worth keeping, by name, for example of images. Those of the collection, of Ansible, of Python and of Kubernetes
      are added.
    type: dict
    default: {}
  operator:
    description: Who ran it. C(user), C(host) and C(ansible) are filled in where they are not given.
    type: dict
    default: {}
  error:
    description: Why the run failed, in one sentence.
    type: str
    default: ''
  next_step:
    description: What to do next.
    type: str
    default: ''
  undone:
    description: What was undone after a failure, one sentence each.
    type: list
    elements: str
    default: []
  url:
    description: Where customers reach the tenant.
    type: str
    default: ''
  keep_in_cluster:
    description: Whether to keep the JSON in the cluster too.
    type: bool
    default: true
  namespace:
    description: Namespace of the kept reports.
    type: str
    default: barberpro-system
  keep:
    description: How many reports of a tenant are kept in the cluster.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Report of the run
  barberpro.platform.run_report:
    path: "{{ playbook_dir }}/../reports"
    tenant: barbershop-palermo
    vertical: barbershop
    revision: r3
    result: succeeded
    started: "{{ __pipeline_started }}"
    stages: "{{ __pipeline_stages }}"
"""

RETURN = r"""
report:
  description: The document as it is in report.json.
  returned: always
  type: dict
report_path:
  description: Path of report.json on the runner. Empty when it could not be written.
  returned: always
  type: str
html_path:
  description: Path of report.html on the runner. Empty when it could not be written.
  returned: always
  type: str
config_map:
  description: NAMESPACE/NAME of the copy in the cluster. Empty when none was made.
  returned: always
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._module import CLUSTER_ARGUMENTS
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._report import (
    build_document,
    keep_in_cluster,
    server_version,
    write_files,
)


def argument_spec() -> dict[str, Any]:
    """Return the module's argument spec."""
    return dict(
        CLUSTER_ARGUMENTS,
        path={"type": "path", "required": True},
        tenant={"type": "str", "required": True},
        vertical={"type": "str", "required": True},
        revision={"type": "str", "default": ""},
        result={"type": "str", "required": True, "choices": ["succeeded", "unchanged", "failed", "rolled_back"]},
        started={"type": "float", "required": True},
        finished={"type": "float"},
        stages={"type": "list", "elements": "dict", "default": []},
        planned_stages={"type": "list", "elements": "dict", "default": []},
        diff={"type": "list", "elements": "dict", "default": []},
        objects={"type": "list", "elements": "dict", "default": []},
        versions={"type": "dict", "default": {}},
        operator={"type": "dict", "default": {}},
        error={"type": "str", "default": ""},
        next_step={"type": "str", "default": ""},
        undone={"type": "list", "elements": "str", "default": []},
        url={"type": "str", "default": ""},
        keep_in_cluster={"type": "bool", "default": True},
        namespace={"type": "str", "default": "barberpro-system"},
        keep={"type": "int", "default": 20},
    )


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Build the report, keep it in both places, and warn about the one that failed."""
    module = new(argument_spec=argument_spec(), supports_check_mode=True)
    params = to_plain(module.params)
    kubernetes, unreachable = server_version(lambda: Client.from_options(params))
    document = build_document(params, ansible_version=module.ansible_version, kubernetes_version=kubernetes)
    result: dict[str, Any] = {"report": document, "report_path": "", "html_path": "", "config_map": ""}
    if module.check_mode:
        module.exit_json(changed=False, **result)
    warnings = []
    if params["keep_in_cluster"]:
        if unreachable:
            warnings.append(unreachable)
        else:
            kept = keep_in_cluster(lambda: Client.from_options(params), document, params["namespace"], params["keep"])
            result["config_map"] = kept.name
            warnings.append(kept.warning)
    written = write_files(params["path"], document, result["config_map"])
    result.update(report_path=written.json_path, html_path=written.html_path)
    for warning in filter(None, [*warnings, written.warning]):
        module.warn(warning)
    module.exit_json(changed=bool(written.json_path or result["config_map"]), **result)


if __name__ == "__main__":
    main()
