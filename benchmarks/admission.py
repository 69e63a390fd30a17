"""What the three admission policies cost a request: the same writes with and without them, in turns, timed at the client.

The writes are those of a tenant's owner, since the policies trust the deployer: each kind is made anew, which the rules look at as a whole, and
changed where it is. All are dry runs of a server-side apply, which go through admission like any other and can be made again. Two of the policies
judge them; the third, which is about Namespaces and the deployer, is asked by its condition and has no more to say.

The control of the measurement: each of these writes with one wrong field is refused by the policy in question while the policies are bound, and
admitted while they are not; before and after each block. A block where that does not hold ends the benchmark.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from scipy.stats import bootstrap

from benchmarks import owners
from benchmarks.site import POLICIES, Site

KIND = "validatingadmissionpolicybindings.admissionregistration.k8s.io"
# What the policies may add to the p99 of a request, in milliseconds.
TARGET_MS = 2.0
# The full sample: 20 blocks each way with 10 rounds of 16 writes. Below it a handful of requests is the p99, and says nothing.
BLOCKS, ROUNDS = 20, 10
# The same seed each time: an interval is a figure of the sample, not of the day.
SEED, RESAMPLES = 20, 2000
# Time for the API server to act on bindings that come or go; it looks for them once a second.
SWITCH_SECONDS = 30.0


@dataclass(frozen=True)
class Control:
    """A wrong object, who writes it, and what the refusal says."""

    resources: Resources
    says: str
    obj: dict[str, Any]

    def refused(self) -> bool:
        """Whether the API server refuses it by a dry run. Raises RuntimeError when it does so for another reason, which would prove nothing."""
        try:
            self.resources.apply(self.obj, dry_run=True, force=True)
        except ApiError as error:
            if self.says in error.server_message:
                return True
            raise RuntimeError(f"a {self.obj['kind']} that {self.says} is to refuse is refused for another reason: {error}") from error
        return False


class Switch:
    """The bindings of the policies, taken away and put back."""

    def __init__(self, site: Site, controls: Sequence[Control]) -> None:
        self.site, self.controls = site, controls
        found = [json.loads(site.kubectl("get", KIND, name, "-o", "json")) for name in POLICIES]
        keep = ("labels", "annotations", "name")
        self.bindings = [{**item, "metadata": {key: value for key, value in item["metadata"].items() if key in keep}} for item in found]

    def set(self, on: bool) -> None:
        """Bind or unbind the policies and return when the API server acts on it for every control. Raises RuntimeError after 30 s."""
        if on:
            self.site.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in self.bindings))
        else:
            self.site.kubectl("delete", KIND, *POLICIES, "--ignore-not-found")
        deadline = time.monotonic() + SWITCH_SECONDS
        while behind := self._otherwise(on):
            if time.monotonic() > deadline:
                raise RuntimeError(f"after {SWITCH_SECONDS:g} s {behind}")
            time.sleep(0.1)

    def check(self, on: bool) -> None:
        """Raise RuntimeError unless the policies are still as they were set."""
        if behind := self._otherwise(on):
            raise RuntimeError(f"at the end of a block {behind}")

    def _otherwise(self, on: bool) -> str:
        """Return which wrong object is not treated as it should be, as a sentence; "" when there is none."""
        for control in self.controls:
            if control.refused() != on:
                treated = "bound, and admitted all the same is" if on else "not bound, and refused all the same is"
                return f"the admission policies are {treated} a {control.obj['kind']} that {control.says} is there for"
        return ""


def latencies(resources: Resources, objects: list[dict[str, Any]], rounds: int) -> list[float]:
    """Return the milliseconds of each server-side apply (dry run, so that the same request can be made again)."""
    found = []
    for _ in range(rounds):
        for obj in objects:
            begun = time.perf_counter()
            resources.apply(obj, dry_run=True, force=True)
            found.append((time.perf_counter() - begun) * 1000)
    return found


def p99(values: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


def stray(deployer: Resources) -> Control:
    """Return the control of the policy that does not judge owners: an object of the deployer's outside of its namespaces."""
    metadata = {"name": "bench-probe", "namespace": "default"}
    return Control(deployer, "control namespaces", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def measure(site: Site, name: str, blocks: int = BLOCKS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return p50 and p99 in milliseconds with and without the policies, and what they add.

    ``name`` is a tenant that exists; its owner's objects are what is written. Blocks alternate (with, without, without, with), one request at a time.
    Raises RuntimeError when a control fails.
    """
    resources = Resources(owners.owner(site.kubeconfig, name))
    there = owners.objects(name, "bench")
    for obj in there:
        resources.apply(obj, force=True)
    objects = [*owners.objects(name, "bench-new"), *map(owners.relabelled, there)]
    controls = [Control(resources, says, bad) for obj in objects for says, bad in owners.wrong(obj)]
    switch = Switch(site, [*controls, stray(Resources(Client.from_options({"kubeconfig": site.deployer})))])
    timed: dict[bool, list[list[float]]] = {True: [], False: []}
    try:
        for block in range(blocks):
            for on in (False, True) if block % 2 else (True, False):
                switch.set(on)
                latencies(resources, objects, 1)
                timed[on].append(latencies(resources, objects, rounds))
                switch.check(on)
    finally:
        switch.set(True)
    sample = {"blocks": blocks, "rounds": rounds, "kinds": [obj["kind"] for obj in there], "controls": len(switch.controls)}
    return {**summary(timed[True], timed[False]), **sample}


def summary(bound: Sequence[Sequence[float]], unbound: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the percentiles over the blocks with and without the policies, and their differences: ``added`` is that of the p99."""
    flat = {"with": list(chain.from_iterable(bound)), "without": list(chain.from_iterable(unbound))}
    shown = {key: {"p50": round(statistics.median(own), 3), "p99": round(p99(own), 3)} for key, own in flat.items()}
    added = {
        "added": round(p99(flat["with"]) - p99(flat["without"]), 3),
        "added_p50": round(statistics.median(flat["with"]) - statistics.median(flat["without"]), 3),
    }
    return {**shown, **added, "added_interval": interval(bound, unbound), "requests": len(flat["with"])}


def interval(bound: Sequence[Sequence[float]], unbound: Sequence[Sequence[float]]) -> list[float]:
    """Return the 95 % interval of what is added to the p99, by a percentile bootstrap over the blocks (Efron and Tibshirani, 1993, chapter 13).

    Whole blocks are drawn, the two of a turn together, since requests of one block share the machine's mood.
    """

    def added(turns: Sequence[int]) -> float:
        return p99(list(chain.from_iterable(bound[turn] for turn in turns))) - p99(list(chain.from_iterable(unbound[turn] for turn in turns)))

    found = bootstrap((range(len(bound)),), added, vectorized=False, n_resamples=RESAMPLES, method="percentile", rng=SEED).confidence_interval
    return [round(float(found.low), 3), round(float(found.high), 3)]


def is_full(found: dict[str, Any]) -> bool:
    """Whether the sample is large enough for its p99 to be judged."""
    return bool(found["blocks"] >= BLOCKS and found["rounds"] >= ROUNDS)


def verdict(found: dict[str, Any]) -> str:
    """Return what is wrong with a measurement as a sentence; "" when nothing is, or when the sample is too small to say."""
    if not is_full(found) or found["added"] <= TARGET_MS:
        return ""
    low, high = found["added_interval"]
    return f"the admission policies add {found['added']:g} ms (95 % interval {low:g} to {high:g}) to the p99 of a request, and {TARGET_MS:g} ms are allowed"
