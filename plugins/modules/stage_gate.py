#!/usr/bin/python
# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close a stage: run its health checks side by side and hand back evidence for each."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage_gate
short_description: Close a stage of a deployment with health checks
version_added: 0.1.0
description:
  - Runs the declared checks side by side, each with a deadline of its own, and returns one line of evidence for each.
  - The stage fails when a check fails or when the budget of the stage is spent. The message names every check that failed, why, and what
    to do next. The evidence of all checks is returned in both cases.
  - A check that hangs is reported as failed with its deadline, it is not waited for.
author:
  - BarberPro operations (@barberpro)
extends_documentation_fragment:
  - barberpro.platform.cluster
  - barberpro.platform.cluster.attributes
attributes:
  check_mode:
    support: partial
    details: Checks that only read are run in check mode too. The others (reach, booking_flow) are reported as skipped.
  diff_mode:
    support: none
    details: Nothing is changed, so there is nothing to show.
  idempotent:
    support: full
    details: What a check writes, it removes again.
options:
  stage:
    description: Name of the stage, for example V(containers).
    type: str
    required: true
  started:
    description:
      - When the stage began, in seconds since the epoch.
      - Without it, the stage begins with this task.
    type: float
  budget_seconds:
    description: How long the stage may take in all, the checks included, in seconds.
    type: float
    required: true
  stages:
    description: The stages that were closed before, as RV(stages) of the gate before returned them.
    type: list
    elements: dict
    default: []
  skip_reason:
    description: When not empty, all checks are reported as skipped for this reason, and none is run.
    type: str
    default: ''
  deadline:
    description: How long one try of a check may take, in seconds, where the check itself does not say.
    type: float
    default: 30
  concurrency:
    description: How many checks run at the same time.
    type: int
    default: 8
  run:
    description:
      - The run that this is the gate of, see M(barberpro.platform.transaction). When it has the tenant's lease, that is kept while the checks run.
    type: dict
  checks:
    description:
      - The checks. Each is a dictionary of the keys below and of the parameters of its check.
      - "Keys of every check: C(check) (required) is its name. C(target) is what the reader sees as its subject, by default derived from the parameters.
        C(wait) is for how many seconds a failure that may still heal is tried again (default 0). C(deadline) is how long the check may take in all, in
        seconds (default O(deadline) plus C(wait)). C(skip_reason), when not empty, reports the check as skipped for this reason and does not run it."
      - "C(cluster): the API server answers and its version is supported. C(minimum) (default 1.33) and C(maximum) (default 1.35) are the first and the last
        supported minor version."
      - "C(platform): what tenants share is installed. C(namespace) (default barberpro-system) and C(name) (default barberpro-platform) name the Secret that
        deploy_platform writes, with the key C(version); C(version) is the lowest version that will do (not checked by default); C(crds) is a list of
        CustomResourceDefinitions that must be established; C(deployments) is a list of NAMESPACE/NAME of Deployments that must be available; C(gateway) is
        NAMESPACE/NAME of a Gateway that must be programmed."
      - "C(access): the caller may do all that the deploy will do (by the rules of the namespace, else by an access review each). C(rules) (required) is a
        list of dictionaries with C(group) (empty for the core group), C(resource) (plural, C(pods/log) for a subresource), C(verbs) (list), and optionally
        C(namespace) and C(name)."
      - "C(capacity): the pods fit. C(namespace) (required); C(requests) (required) and C(limits) are dictionaries of C(cpu), C(memory), C(ephemeral-storage),
        and in requests also C(pods) and C(storage): what this deploy adds, surge included; C(quota) is the C(hard) dictionary of the tier's ResourceQuota
        (default the live quotas of the namespace); C(revision) (r4) names the revision whose pods, if they already run, are not counted twice; C(largest)
        is a dictionary of C(cpu), C(memory) and C(ephemeral-storage) of the biggest single pod, which must fit on one node."
      - "C(image): the manifest is present in the registry. C(reference) (required) is the image; C(insecure_networks) is a list of networks whose
        registries may be spoken to without TLS (default the private and loopback ranges); C(ca_file) is a bundle for the registry's certificate;
        C(auth_file) is a docker config.json with credentials."
      - "C(name_free): the namespace and the host name are free or ours. C(namespace), C(host) and C(tenant) (all required)."
      - "C(migrations): the code that serves works on the schema that the new images' migrations make, and they lock no table for long. C(schema) (required)
        is the tenant's schema; C(migrations) is what is due, each with C(workload), C(from) and C(to); C(rehearsal) is the result of
        M(barberpro.platform.rehearsal), empty when nothing was tried; C(untried) says why, C(reasons) by workload where others were tried."
      - "C(plan): records what the release module planned. C(plan) (required) is its result in state planned (C(revision), C(current), C(changes),
        C(changed))."
      - "C(objects): each object is in the cluster as declared, read back by kubectl. C(objects) (required) is the list of objects; C(phases) limits it to
        these phases; C(revision) (r4) replaces the token of a release set; C(kubectl) is the path of the program (default kubectl); quantities are compared
        by value and what the server fills in is ignored."
      - "C(sql_access): the app role can use its own schema and no other. C(namespace) (required) and C(secret) (default booking-database) name the Secret
        with the keys host, port, dbname, schema, sslmode, user and password; C(host) and C(port) replace those of the Secret where the runner has to take
        another way; C(schema) must equal the one of the Secret when it is given; C(foreign_schemas) is a list of schemas to try beside those that the
        catalogue lists; C(ca_file) is a bundle for the server's certificate."
      - "C(rollout): a workload is complete. C(namespace) and C(name) (required), C(kind) (Deployment, StatefulSet, DaemonSet or Job, default Deployment).
        An image that cannot be pulled, a crash loop and a spent quota fail at once, whatever C(wait) says."
      - "C(endpoints): a Service has ready endpoints. C(namespace) and C(service) (required), C(minimum) (default 1)."
      - "C(restarts): no container was restarted. C(namespace) and C(selector) (label selector, required), C(maximum) (default 0)."
      - "C(schema_fits): the code of a kept revision works on today's schema, where migrations have run since. C(revision) is its number and C(tenant) the
        tenant's name (both required); C(ahead) is what the filter P(barberpro.platform.rollback_plan#filter) has found, C(rehearsal) the result of
        M(barberpro.platform.rehearsal), both empty when nothing was looked at or tried, and C(untried) says why; C(backups) are the names of those kept."
      - "C(settings): the service has the settings of the inventory. C(namespace), C(selector) (label selector of the service's pods) and C(expected)
        (dictionary) (all required), C(port) (default 9090), C(token_secret) (default booking-admin)."
      - "C(http): an address answers as expected. C(url) (required); C(address) is the IP, or IP:PORT, to connect to instead of what DNS says; C(method)
        (default GET); C(headers) (dictionary); C(expect_status) (default 200); C(expect_headers) (dictionary); C(expect_body) (text that the body
        contains); C(expect_failure) (boolean): that no answer, or one with another status, comes is the success; C(ca_file); C(verify) (default true)."
      - "C(booking_flow): a customer finds a free slot, books, cannot book it twice, cancels, and all is removed after. C(url) (base URL) and C(run_id)
        (required); C(address), C(headers), C(ca_file), C(verify) as of http; C(revision) (r4) is what X-Barberpro-Revision must say; C(service) is the
        service to book (default the first of the business); C(days) is how far to look for a free slot (default 14); C(namespace), C(selector), C(port)
        (default 9090) and C(token_secret) (default booking-admin) lead to the admin API that removes the test bookings. Writes, so it is skipped in check
        mode."
      - "C(reach): what a pod with the labels of a tenant's workload can connect to. C(namespace), C(image) and C(labels) (dictionary) (required); C(open)
        and C(closed) are lists of HOST:PORT; C(service_account) (default default); C(timeout) is seconds to wait for one connection (default 2);
        C(settle) before the first (0); C(pull_secrets) is a list of names. Makes a pod that is never ready and removes it, so it is skipped in check mode."
      - "C(dns): the name has the address, or is an alias of the name. C(name), C(address) (required); C(server), or C(zone), whose own servers are asked
        (default the runner's resolvers); C(port) (default 53); C(type) (default A; an alias, CNAME, may be answered by addresses); C(only): nothing else."
      - "C(tls): the chain and the name verify and the certificate lasts. C(host) (required); C(address) (IP to connect to, default C(host)); C(port)
        (default 443); C(ca_file) (default the system's bundle); C(san) (default C(host)) must be among the subject alternative names; C(min_days) (default
        14)."
      - "C(redirect): HTTP leads to HTTPS. C(url) (required); C(address), C(headers) as of http; C(location) (required) is the expected target; C(status) is
        a list (default 301 and 308)."
      - "C(targets_up): Prometheus scrapes each target. C(targets) (required) is a list of dictionaries with C(matchers) (dictionary of labels) and C(count)
        (lowest number of targets that are up, default 1; none may be down); C(namespace) (default barberpro-monitoring), C(service) (default
        prometheus-operated), C(port) (default 9090) and C(scheme) (default http) name Prometheus, which is reached through the API server."
      - "C(rules_loaded): Prometheus has loaded the rules and evaluates them without error. C(objects) (PrometheusRules, loaded as they were applied), C(groups)
        and C(alerts) (names) are lists of which one at least is required; C(labels) is a dictionary that the alerts must carry; C(namespace), C(service),
        C(port) and C(scheme) as of targets_up."
    type: list
    elements: dict
    required: true
notes:
  - The parameters of every check, with types and defaults, are also in docs/checks.md.
seealso:
  - module: barberpro.platform.run_report
"""

EXAMPLES = r"""
- name: Gate of the containers stage
  barberpro.platform.stage_gate:
    stage: containers
    started: "{{ __pipeline_stage_started }}"
    budget_seconds: 1620
    checks:
      - check: rollout
        namespace: tenant-barbershop-palermo
        name: booking-r3
        wait: 120
      - check: endpoints
        namespace: tenant-barbershop-palermo
        service: booking-r3
        wait: 30
      - check: restarts
        namespace: tenant-barbershop-palermo
        selector: barberpro.platform/revision=r3
  register: __pipeline_gate
"""

RETURN = r"""
stage:
  description: The stage with the evidence of its checks. Returned on failure too.
  returned: always
  type: dict
  contains:
    name:
      description: Name of the stage.
      type: str
      returned: always
    budget_seconds:
      description: The budget of the stage in seconds.
      type: float
      returned: always
    elapsed_seconds:
      description: Seconds from the beginning of the stage to the end of its checks.
      type: float
      returned: always
    result:
      description: Either V(passed) or V(failed).
      type: str
      returned: always
    checks:
      description: One entry for each check, in the order given.
      type: list
      elements: dict
      returned: always
      contains:
        check:
          description: Name of the check.
          type: str
          returned: always
        target:
          description: What was checked.
          type: str
          returned: always
        outcome:
          description: Either V(passed), V(failed) or V(skipped).
          type: str
          returned: always
        evidence:
          description: What was seen, in a short sentence. On failure also what to do next.
          type: str
          returned: always
        elapsed_seconds:
          description: How long the check took, in seconds.
          type: float
          returned: always
stages:
  description: O(stages) with this one at the end.
  returned: always
  type: list
  elements: dict
ended:
  description: When the stage ended, which is when the next one begins, in seconds since the epoch.
  returned: always
  type: float
error:
  description: Which checks failed and why, in one sentence, without the next step.
  returned: on failure
  type: str
next_step:
  description: What to do about the first check that failed.
  returned: on failure
  type: str
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Clients
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._gate import BadCheck, plan_checks, run_gate
from ansible_collections.barberpro.platform.plugins.module_utils._module import CLUSTER_ARGUMENTS
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction


def argument_spec() -> dict[str, Any]:
    """Return the module's argument spec."""
    return dict(
        CLUSTER_ARGUMENTS,
        stage={"type": "str", "required": True},
        started={"type": "float"},
        budget_seconds={"type": "float", "required": True},
        stages={"type": "list", "elements": "dict", "default": []},
        skip_reason={"type": "str", "default": ""},
        deadline={"type": "float", "default": 30.0},
        concurrency={"type": "int", "default": 8},
        run={"type": "dict"},
        checks={"type": "list", "elements": "dict", "required": True},
    )


def main(new: Callable[..., Any] = AnsibleModule) -> None:
    """Run the gate and translate its outcome into the module's result."""
    module = new(argument_spec=argument_spec(), supports_check_mode=True)
    params = to_plain(module.params)
    ahead = (params["started"] or 0.0) - time.time()
    if ahead > 60:
        hint = "give seconds since the epoch, now().timestamp() (now(utc=true) is read as local time)"
        module.fail_json(msg=f"stage {params['stage']}: started is {ahead:.0f} s in the future; {hint}")
    declared = [{**item, "skip_reason": params["skip_reason"]} if params["skip_reason"] else item for item in params["checks"]]
    try:
        planned = plan_checks(declared, CHECKS, params["deadline"], check_mode=module.check_mode)
    except BadCheck as error:
        module.fail_json(msg=f"stage {params['stage']}: {error}")
    clients = Clients(lambda: Client.from_options(params), kubeconfig=params.get("kubeconfig"), context=params.get("context"))
    run = params["run"]
    try:
        with Transaction(clients.resources, str(run["tenant"]), run, module.check_mode).watching() if run else nullcontext():
            gate = run_gate(
                stage=params["stage"],
                budget_seconds=params["budget_seconds"],
                started=params["started"],
                checks=planned,
                clients=clients,
                concurrency=params["concurrency"],
            )
    except PlatformError as error:
        module.fail_json(msg=f"stage {params['stage']}: {error}")
    stage = gate.document()
    result = {"stage": stage, "stages": [*params["stages"], stage], "ended": time.time()}
    if gate.result == "failed":
        module.fail_json(msg=gate.sentence(), error=gate.error(), next_step=gate.next_step(), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
