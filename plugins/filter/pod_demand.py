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
  - Adds up requests and limits of the pods that the Deployments, StatefulSets and Jobs among the objects will run.
  - The answer has the form that the C(capacity) check of M(barberpro.platform.stage_gate) takes.
options:
  _input:
    description: Kubernetes objects.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: What a deploy adds to the namespace
  ansible.builtin.debug:
    msg: "{{ objects | barberpro.platform.pod_demand }}"
"""

RETURN = r"""
_value:
  description: C(requests) and C(limits) with C(cpu) and C(memory), C(requests) also with C(pods), and C(largest) with those of the biggest single pod.
  type: dict
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.barberpro.platform.plugins.module_utils import _quantity
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain

_RESOURCES = ("cpu", "memory")
_ZERO = Decimal(0)


def _pods(objects: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the number of pods and the pod spec of every object that runs pods."""
    for item in objects:
        spec = item.get("spec", {})
        if item.get("kind") in ("Deployment", "StatefulSet"):
            yield int(spec.get("replicas", 1)), spec["template"]["spec"]
        elif item.get("kind") == "Job":
            yield int(spec.get("parallelism", 1)), spec["template"]["spec"]


def _of_pod(pod: Mapping[str, Any], bound: str, resource: str) -> Decimal:
    """Return what one pod asks of one resource under ``requests`` or ``limits``."""
    return sum((_quantity.number(c.get("resources", {}).get(bound, {}).get(resource)) for c in pod["containers"]), _ZERO)


def pod_demand(objects: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return ``{requests: {cpu, memory, pods}, limits: {cpu, memory}, largest: {cpu, memory}}`` as quantities.

    Raises AnsibleFilterError when a request or a limit is no quantity.
    """
    pods = list(_pods(to_plain(objects)))
    try:
        demand = {
            bound: {r: _quantity.show(sum((n * _of_pod(p, bound, r) for n, p in pods), _ZERO), r == "memory") for r in _RESOURCES}
            for bound in ("requests", "limits")
        }
        demand["largest"] = {
            r: _quantity.show(max((_of_pod(p, "requests", r) for _n, p in pods), default=_ZERO), r == "memory") for r in _RESOURCES
        }
    except ValueError as error:
        raise AnsibleFilterError(f"a container's resources cannot be summed up: {error}; correct the workload's resources") from error
    demand["requests"]["pods"] = str(sum(n for n, _p in pods))
    return demand


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"pod_demand": pod_demand}
