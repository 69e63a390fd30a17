"""What the three admission policies cost a request: the same writes with and without them, in turns, timed at the client."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

from benchmarks import tenants
from benchmarks.site import POLICIES, Site

KIND = "validatingadmissionpolicybindings.admissionregistration.k8s.io"


class Switch:
    """The bindings of the policies, taken away and put back."""

    def __init__(self, site: Site, resources: Resources, namespace: str) -> None:
        self.site, self.resources, self.namespace = site, resources, namespace
        found = [json.loads(site.kubectl("get", KIND, name, "-o", "json")) for name in POLICIES]
        keep = ("labels", "annotations", "name")
        self.bindings = [{**item, "metadata": {key: value for key, value in item["metadata"].items() if key in keep}} for item in found]

    def set(self, on: bool) -> None:
        """Bind or unbind the policies and return when the API server acts on it. Raises RuntimeError after 30 s."""
        if on:
            self.site.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in self.bindings))
        else:
            self.site.kubectl("delete", KIND, *POLICIES, "--ignore-not-found")
        deadline = time.monotonic() + 30
        while self._refused() != on:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the admission policies are not {'in force' if on else 'gone'} after 30 s")
            time.sleep(0.1)

    def _refused(self) -> bool:
        """Whether the API server refuses, by dry run, a Service that no tenant may have."""
        metadata = {"name": "probe", "namespace": self.namespace}
        probe = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        try:
            self.resources.create(probe, dry_run=True)
        except ApiError as error:
            return "control services" in error.server_message
        return False


def latencies(resources: Resources, objects: list[dict[str, Any]], rounds: int) -> list[float]:
    """Return the milliseconds of each server-side apply (dry run, so that the same request can be made again)."""
    found = []
    for _ in range(rounds):
        for obj in objects:
            begun = time.perf_counter()
            resources.apply(obj, dry_run=True, force=True)
            found.append((time.perf_counter() - begun) * 1000)
    return found


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


def measure(site: Site, name: str, blocks: int, rounds: int) -> dict[str, Any]:
    """Return p50 and p99 in milliseconds with and without the policies, and what they add.

    ``name`` is a tenant that exists; its own objects are what is written. Blocks alternate (without, with, with, without), one request at a
    time, with the deployer's identity.
    """
    resources = Resources(Client.from_options({"kubeconfig": site.deployer}))
    objects = [obj for obj in next(tenants.sets("tenancy", 1, name.rpartition("-")[0], site.work)) if obj["kind"] != "Namespace"]
    switch = Switch(site, resources, f"tenant-{name}")
    timed: dict[bool, list[float]] = {True: [], False: []}
    try:
        for block in range(blocks):
            for on in (False, True) if block % 2 else (True, False):
                switch.set(on)
                latencies(resources, objects, 1)
                timed[on] += latencies(resources, objects, rounds)
    finally:
        switch.set(True)
    shown = {key: {"p50": round(statistics.median(timed[on]), 3), "p99": round(p99(timed[on]), 3)} for key, on in (("with", True), ("without", False))}
    return {**shown, "added": round(p99(timed[True]) - p99(timed[False]), 3), "requests": len(timed[True])}
