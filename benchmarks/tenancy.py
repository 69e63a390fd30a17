"""How fast a fleet of tenants is converged, what that costs at 10, 100 and 1,000 tenants, and what admission adds to a request.

`make bench-tenancy` writes benchmarks/results/tenancy.json. It needs the simulated cluster (make cluster PROFILE=simulated). Each tenant is the
infrastructure that the roles render, 20 objects. Seconds are those of the whole ansible-playbook with its one task; kubectl gets the same objects
rendered. ARGS="--tenants 50" makes a smaller fleet; one of fewer than ten tenants is a look, for which admission gets few requests and no verdict.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks import admission, converge, peers

SORT = "tenancy"


def marginal(cost: Mapping[str, float]) -> dict[str, float]:
    """Return what one more tenant costs between two sizes, in milliseconds, by "SIZE-SIZE"; ``cost`` is milliseconds a tenant by size.

    A small fleet waits as long as one tenant waits for the cluster (a new namespace's quota, the admission cache), which is not a cost of each.
    """
    sizes = sorted(map(int, cost))
    return {
        f"{small}-{large}": round((cost[str(large)] * large - cost[str(small)] * small) / (large - small), 1)
        for small, large in pairwise(sizes)
    }  # fmt: skip


def main() -> int:
    """Measure, write, print; the exit status.

    It is 1 when the second run has written something, when one more tenant of a large fleet costs over 1.3 times one of a small, or when the
    policies add more to a request's p99 than admission.TARGET_MS.
    """
    chosen = converge.options(__doc__, "tenancy.json")
    result: dict[str, Any] = {"machine": converge.machine(), "tenants": chosen.tenants, "objects_per_tenant": 20}
    with converge.site_for(chosen) as site:
        sizes = [size for size in converge.SIZES if size < chosen.tenants] + [chosen.tenants]
        cost, own = {}, {}
        for size in sizes:
            prefix = f"fleet-{size}-{os.getpid() % 10000}"
            try:
                own = converge.ours(site, SORT, size, prefix)
                if size == min(sizes) and not chosen.bare:
                    converge.say("admission")
                    sample = (admission.BLOCKS, admission.ROUNDS) if size >= min(converge.SIZES) else (2, 2)
                    result["admission"] = admission.measure(site, f"{prefix}-0000", *sample)
                    result["admission_p99_ms"] = result["admission"]["added"]
                    result["admission_p50_ms"] = result["admission"]["added_p50"]
            finally:
                site.clear(prefix)
            # The start of Ansible is paid once, so it is left out where costs of a tenant are compared.
            cost[str(size)] = round(own["module_seconds"] / size * 1000, 1)
        samples = {
            "plain_client": (peers.plain_client, min(chosen.tenants, chosen.sample or chosen.tenants)),
            "kubectl_ssa": (peers.kubectl_ssa, min(chosen.tenants, chosen.sample or chosen.tenants)),
            "k8s_module_list": (peers.module_list, max(1, min(10, chosen.tenants // 5))),
        }
        result |= {key: own[key] for key in ("unchanged_seconds", "resource_versions_changed", "memory_mib")}
        more = marginal(cost)
        result |= {"per_tenant_ms": cost, "one_more_tenant_ms": more, **converge.compared(site, SORT, own, samples, chosen)}
    converge.write(chosen, result)
    steps = list(more.values())
    dear = told(result)
    return 0 if result["resource_versions_changed"] == 0 and (not steps or max(steps) <= 1.3 * steps[0]) and not dear else 1


def told(result: Mapping[str, Any]) -> bool:
    """Say what the requests' latency under the policies means; whether it is beyond what is allowed."""
    if "admission" not in result:
        converge.say("admission is not judged: a bare look does not measure it")
        return False
    if not admission.is_full(result["admission"]):
        converge.say(f"admission is not judged: {result['admission']['requests']} requests are too few for a p99")
    sentence = admission.verdict(result["admission"])
    if sentence:
        converge.say(sentence)
    return bool(sentence)


if __name__ == "__main__":
    sys.exit(main())
