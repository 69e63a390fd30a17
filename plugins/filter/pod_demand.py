# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ``barberpro.platform.pod_demand``: what the pods of a set of objects ask of a cluster, in all."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pod_demand
short_description: Sum up what a set of objects asks of a cluster
version_added: 0.1.0
author: BarberPro operations (@barberpro)
description:
  - Adds up requests and limits of the pods that the Deployments and StatefulSets among the objects will run, and of those that come and
    go beside them, Jobs first and probes after them; of the two, whichever asks for more of a resource counts.
  - The answer has the form that the C(capacity) check of M(barberpro.platform.stage_gate) takes.
options:
  _input:
    description: Kubernetes objects.
    type: list
    elements: dict
    required: true
  probes:
    description: Number of pods by which the C(reach) checks of the deploy try connections side by side.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: What a deploy adds to the namespace
  ansible.builtin.debug:
    msg: "{{ objects | barberpro.platform.pod_demand(probes=2) }}"
"""

RETURN = r"""
_value:
  description: C(requests) and C(limits) with C(cpu), C(memory) and C(ephemeral-storage), C(requests) also with C(pods), and C(largest) with
    the same three of the biggest single pod.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.module_utils import _quantity
from ansible_collections.barberpro.platform.plugins.module_utils._checks_reach import PROBE_RESOURCES
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain

_QUOTED = ("cpu", "memory", "ephemeral-storage")
_ZERO = Decimal(0)
Pods = list[tuple[int, Mapping[str, Any]]]


def _pods(objects: Sequence[Mapping[str, Any]], kinds: Sequence[str], count: str) -> Pods:
    """Return the number of pods, by the field ``count``, and the pod spec of every object of these kinds."""
    return [(int(item["spec"].get(count, 1)), item["spec"]["template"]["spec"]) for item in objects if item.get("kind") in kinds]


def _of_pod(pod: Mapping[str, Any], bound: str, resource: str) -> Decimal:
    """Return what one pod asks of one resource under ``requests`` or ``limits``."""
    return sum((_quantity.number(c.get("resources", {}).get(bound, {}).get(resource)) for c in pod["containers"]), _ZERO)


def _asked(pods: Pods, bound: str, resource: str) -> Decimal:
    """Return what all of these pods ask of one resource."""
    return sum((n * _of_pod(pod, bound, resource) for n, pod in pods), _ZERO)


def pod_demand(objects: Sequence[Mapping[str, Any]], probes: int = 0) -> dict[str, dict[str, str]]:
    """Return ``{requests: {cpu, memory, ephemeral-storage, pods}, limits and largest: {cpu, memory, ephemeral-storage}}`` as quantities.

    Raises AnsibleFilterError when a request or a limit is no quantity.
    """
    plain = to_plain(objects)
    stay = _pods(plain, ("Deployment", "StatefulSet"), "replicas")
    jobs = _pods(plain, ("Job",), "parallelism")
    passing: tuple[Pods, Pods] = (jobs, [(probes, {"containers": [{"resources": PROBE_RESOURCES}]})])
    try:
        demand = {
            bound: {r: _quantity.show(_asked(stay, bound, r) + max(_asked(pods, bound, r) for pods in passing), r != "cpu") for r in _QUOTED}
            for bound in ("requests", "limits")
        }
        demand["largest"] = {
            r: _quantity.show(max((_of_pod(pod, "requests", r) for _n, pod in stay + jobs), default=_ZERO), r != "cpu") for r in _QUOTED
        }
    except ValueError as error:
        raise AnsibleFilterError(f"a container's resources cannot be summed up: {error}; correct the workload's resources") from error
    demand["requests"]["pods"] = str(sum(n for n, _pod in stay) + max(sum(n for n, _pod in pods) for pods in passing))
    return demand


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"pod_demand": pod_demand}
