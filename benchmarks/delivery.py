"""How fast a fleet is delivered in one task, set against kubectl, Helm 4, kapp and kubernetes.core.k8s, and how fast it is rolled back.

`make bench-delivery` writes benchmarks/results/delivery.json. It needs the simulated cluster (make cluster PROFILE=simulated). Each tenant is a
release of 20 objects; slow peers get a part of the fleet (``sample_tenants``), and ``ratio`` compares seconds an object. Where an embedded
cluster of this checkout is up, whole playbooks of one tenant are timed too. ARGS="--tenants 50" makes a smaller fleet.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client

from benchmarks import converge, embedded, peers, tenants
from benchmarks.site import Site
from benchmarks.targets import Target, judged
from tests.support.gateway import Gateway

SORT = "delivery"
# Of this many tenants; a smaller fleet is a look.
FLEET = 1000
TARGETS = (
    Target("seconds.ours", "<=", 60), Target("ratio.kubectl_ssa", ">=", 1.5), Target("ratio.helm", ">=", 10), Target("ratio.kapp", ">", 1),
    Target("ratio.k8s_module_loop", ">=", 300), Target("unchanged_share", "<=", 0.5), Target("resource_versions_changed", "<=", 0),
    Target("rollback_seconds.one_embedded.p99", "<=", 10), Target("rollback_seconds.fleet_simulated.seconds", "<=", 60),
    Target("deploy_seconds", "<=", 15), Target("new_tenant_seconds", "<=", 120), Target("dry_run_seconds", "<=", 3),
)  # fmt: skip


def rolled_back(site: Site, count: int) -> dict[str, Any]:
    """Deploy so many routed tenants twice, return them to their first revision in one task, and say how long all and each of them took."""
    prefix = f"back-{os.getpid() % 10000}"
    converge.say(f"roll back {count} tenants")
    gateway = Gateway(Client.from_options({"kubeconfig": site.kubeconfig}))
    gateway.start()
    try:
        for image in (tenants.IMAGE, tenants.NEWER):
            site.task("fleet", converge.MODULE, tenants.arguments("routed", count, prefix, site.work, image))
        back = {"state": "rolled_back", "tenants": [{"name": name} for name in tenants.names(count, prefix)]}
        done, told = site.task("back", converge.MODULE, back, keep=["tenants", "summary"])
        served = site.kubectl("get", "httproutes", "-A", "-o", "jsonpath={range .items[?(@.metadata.name=='main')]}{.metadata.namespace} "
                              "{.spec.rules[0].backendRefs[0].name}{'\\n'}{end}")
        right = sum(f"tenant-{prefix}-" in line and line.endswith("-r1") for line in served.splitlines())
    finally:
        gateway.stopped.set()
        gateway.join()
        site.clear(prefix)
    if right != count:
        raise RuntimeError(f"kubectl sees {right} routes of {count} on the first revision")
    return {"tenants": count, "seconds": round(done.seconds, 2), **embedded.percentiles([item["seconds"] for item in told["tenants"]])}


def one_at_a_time(site: Site, count: int) -> dict[str, Any]:
    """Roll one tenant back and forth so many times, a playbook each; return p50 and p99 of its seconds, and of the rollback's without Ansible's start."""
    prefix = f"one-{os.getpid() % 10000}"
    converge.say(f"roll one tenant back {count} times")
    gateway = Gateway(Client.from_options({"kubeconfig": site.kubeconfig}))
    gateway.start()
    seconds, single = [], []
    try:
        for image in (tenants.IMAGE, tenants.NEWER):
            site.task("fleet", converge.MODULE, tenants.arguments("routed", 1, prefix, site.work, image))
        for turn in range(count):
            back = {"state": "rolled_back", "to_revision": 1 + turn % 2, "tenants": [{"name": f"{prefix}-0000"}]}
            done, told = site.task("back", converge.MODULE, back, keep=["summary"])
            seconds.append(done.seconds)
            single.append(told["summary"]["seconds"])
    finally:
        gateway.stopped.set()
        gateway.join()
        site.clear(prefix)
    return {"runs": count, **embedded.percentiles(seconds), "task": embedded.percentiles(single)}


def main() -> int:
    """Measure, write, print; 1 when the second run has written something, or a whole fleet misses a target."""
    chosen = converge.options(__doc__, "delivery.json")
    begun = time.monotonic()
    result: dict[str, Any] = {"machine": converge.machine(), "tenants": chosen.tenants, "objects_per_tenant": tenants.OBJECTS}
    # First: the other cluster is at work long after its fleets are gone.
    single = embedded.measure(0 if chosen.bare else 5, converge.say)
    with converge.site_for(chosen) as site:
        sizes = [size for size in converge.SIZES if size < chosen.tenants] + [chosen.tenants]
        memory, own = {}, {}
        for size in sizes:
            prefix = f"fleet-{size}-{os.getpid() % 10000}"
            try:
                own = converge.ours(site, SORT, size, prefix)
            finally:
                site.clear(prefix)
            memory[str(size)] = own["memory_mib"]
        samples = {
            "plain_client": (peers.plain_client, min(chosen.tenants, chosen.sample or chosen.tenants)),
            "kubectl_ssa": (peers.kubectl_ssa, min(chosen.tenants, chosen.sample or chosen.tenants)),
            "helm": (peers.helm_install, max(1, min(20, chosen.tenants // 3))),
            "kapp": (peers.kapp_deploy, max(1, min(20, chosen.tenants // 3))),
            "k8s_module_list": (peers.module_list, max(1, min(10, chosen.tenants // 5))),
            "k8s_module_loop": (peers.module_loop, 1),
        }
        result |= {key: own[key] for key in ("unchanged_seconds", "resource_versions_changed")}
        result |= {"memory_mib": memory, **converge.compared(site, SORT, own, samples, chosen)}
        result["rollback_seconds"] = {
            "one_simulated": one_at_a_time(site, 10 if chosen.tenants >= 100 else 2),
            "fleet_simulated": rolled_back(site, min(100, chosen.tenants)),
        }
    result["rollback_seconds"]["one_embedded"] = single.pop("rollback_embedded", None)
    result |= single
    result["unchanged_share"] = round(result["unchanged_seconds"] / result["seconds"]["ours"], 3)
    result["targets"] = judged(result, TARGETS)
    result["benchmark_seconds"] = round(time.monotonic() - begun)
    converge.write(chosen, result)
    missed = result["targets"]["missed"] if chosen.tenants >= FLEET else []
    for line in missed:
        converge.say(f"target missed: {line}")
    return 1 if missed or result["resource_versions_changed"] else 0


if __name__ == "__main__":
    sys.exit(main())
