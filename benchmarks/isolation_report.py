"""How long the isolation report takes for 10, 100 and 1,000 tenants, and how that compares with network-config-analyzer.

`make bench-isolation` writes benchmarks/results/isolation.json. Objects are in memory on both sides: what is measured is the computation
from parsed objects to the report, in seconds of this machine. The peer gets the same policies and pods as one file and computes all allowed
connections; its fleet is doubled for as long as it answers within a minute. The ratio is one of CPU seconds (both compute in one thread), so
that what else the machine does at the time does not count. With --kubeconfig the module itself also runs on a cluster for
tests in which 1,000 tenants are made, reading included, and closes them again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _isolation
from ansible_collections.barberpro.platform.plugins.module_utils._apply import checked
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from benchmarks import fleet, judges

RESULTS = Path(__file__).resolve().parent / "results"
SIZES = (10, 100, 1000)
LIMIT = 60.0  # seconds that the peer may take
OPTIONS = {
    "names": [],
    "shared_namespaces": ["barberpro-data", "barberpro-gateway", "barberpro-monitoring", "barberpro-system", "kube-system"],
    "platform_subjects": [],
    "max_paths": 100,
}


def measured(objects: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the report's document and the seconds that it took, the faster of two runs."""
    best: dict[str, Any] = {}
    for _ in range(2):
        begun = time.perf_counter()
        document = _isolation.build(objects, OPTIONS, {})
        _isolation.finish(document, {})
        seconds = time.perf_counter() - begun
        if not best or seconds < best["seconds"]:
            best = {"seconds": round(seconds, 3), "document": document}
    return best


def with_holes(objects: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the fleet with each tenant open to the next one on one port."""
    spaces = [item["metadata"]["name"] for item in objects["namespaces"] if "barberpro.platform/tenant" in item["metadata"]["labels"]]
    more = []
    for own, other in zip(spaces, [*spaces[1:], spaces[0]], strict=True):
        for space, kind, side, peer in ((own, "Egress", "to", other), (other, "Ingress", "from", own)):
            rule = {side: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": peer}}}], "ports": [{"port": 8080}]}
            spec = {"podSelector": {}, "policyTypes": [kind], kind.lower(): [rule]}
            more.append({"metadata": {"namespace": space, "name": f"hole-{kind.lower()}"}, "spec": spec})
    return {**objects, "policies": [*objects["policies"], *more]}


def analyzer(objects: dict[str, list[dict[str, Any]]]) -> float | None:
    """Return the CPU seconds that network-config-analyzer takes, None when it is more than the limit."""
    world = {
        "namespaces": {item["metadata"]["name"]: item["metadata"]["labels"] for item in objects["namespaces"]},
        "pods": [
            {
                "namespace": pod["metadata"]["namespace"],
                "name": pod["metadata"]["name"],
                "labels": pod["metadata"]["labels"],
                "ports": [
                    {"name": port["name"], "port": port["containerPort"], "protocol": "TCP"}
                    for container in pod["spec"]["containers"]
                    for port in container["ports"]
                ],
            }
            for pod in objects["pods"]
        ],
        "policies": [{"metadata": item["metadata"], "spec": item["spec"]} for item in objects["policies"]],
    }
    command = [*judges.analyzer(), "--time"]
    try:
        done = subprocess.run(command, input=json.dumps(world) + "\n", capture_output=True, text=True, check=True, timeout=4 * LIMIT)
    except subprocess.TimeoutExpired:
        return None
    seconds = float(done.stdout)
    return seconds if seconds <= LIMIT else None


RBAC = "rbac.authorization.k8s.io/v1"
WAVES = (
    ("namespaces", "v1", "Namespace"),
    ("accounts", "v1", "ServiceAccount"),
    ("policies", "networking.k8s.io/v1", "NetworkPolicy"),
    ("roles", RBAC, "Role"),
    ("role_bindings", RBAC, "RoleBinding"),
    ("pods", "v1", "Pod"),
)


def complete(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the fleet as an API server takes it."""
    if kind == "pods":
        return {**item, "spec": {"containers": [{**container, "image": "shop:1"} for container in item["spec"]["containers"]]}}
    if kind == "role_bindings":
        group = "rbac.authorization.k8s.io"
        return {**item, "roleRef": {"apiGroup": group, **item["roleRef"]}, "subjects": [{"apiGroup": group, **subject} for subject in item["subjects"]]}
    return item


def live(kubeconfig: str, tenants: int = 1000) -> dict[str, Any]:
    """Return the seconds that the module takes on a cluster with so many tenants more. Raises SystemExit for a cluster that is not for tests."""
    client = Client.from_options({"kubeconfig": kubeconfig})
    resources = Resources(client)
    label = ((resources.get(Ref("v1", "Namespace", "", "kube-system")) or {}).get("metadata") or {}).get("labels", {}).get("barberpro.platform/cluster")
    if label != "test":
        raise SystemExit(f"{kubeconfig}: kube-system lacks the label barberpro.platform/cluster=test: this makes {tenants} tenants in a cluster for tests only")
    objects = fleet.objects(tenants, prefix=f"fleet-{int(time.time()) % 10**6}")
    names = [item["metadata"]["name"] for item in objects["namespaces"] if item["metadata"]["name"].startswith("tenant-")]
    made = set(names)
    try:
        for kind, api_version, what in WAVES:
            head = {"apiVersion": api_version, "kind": what}
            items = [item for item in objects[kind] if item["metadata"].get("namespace", item["metadata"]["name"]) in made]
            checked(client.map(resources.create, [{**head, **complete(kind, item)} for item in items]))
        begun = time.perf_counter()
        found = _isolation.report(client, {**OPTIONS, "path": None, "database": None}, True)
        seconds = round(time.perf_counter() - begun, 2)
        return {"seconds": seconds, "parts": found["report"]["seconds"], "summary": found["summary"]}
    finally:
        client.map(lambda name: resources.delete(Ref("v1", "Namespace", "", name)), names)


def main() -> int:
    """Measure, write, print; 1 when 1,000 tenants take more than ten seconds or are not isolated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", help="a cluster for tests in which 1,000 tenants are made")
    options = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "tenants": {}, "with_a_hole_each": {}}
    for size in SIZES:
        objects = fleet.objects(size)
        found = measured(objects)
        network = found["document"]["network"]
        result["tenants"][size] = {
            "seconds": found["seconds"],
            "summary": found["document"]["summary"],
            **{key: network[key] for key in ("pairs", "pods", "classes", "policies")},
        }
        open_fleet = measured(with_holes(objects))
        result["with_a_hole_each"][size] = {"seconds": open_fleet["seconds"], "summary": open_fleet["document"]["summary"]}
    if options.kubeconfig:
        result["on_a_cluster"] = live(options.kubeconfig)
    size, peer = 5, None
    while (seconds := analyzer(fleet.objects(size))) is not None:
        objects = fleet.objects(size)
        begun = time.process_time()
        _isolation.finish(_isolation.build(objects, OPTIONS, {}), {})
        ours = time.process_time() - begun
        peer = {"tenants": size, "cpu_seconds": round(seconds, 2), "our_cpu_seconds": round(ours, 3), "ratio": round(seconds / ours, 1)}
        size *= 2
    result["network-config-analyzer"] = {"largest_within_cpu_seconds": LIMIT, **(peer or {})}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "isolation.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    good = result["tenants"][1000]["seconds"] <= 10 and result["tenants"][1000]["summary"].startswith("1000 tenants, 999000 pairs, nobody reaches anybody")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
