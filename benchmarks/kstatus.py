"""Do we agree with upstream's kstatus about what is ready? `make kstatus`.

Asks sigs.k8s.io/cli-utils/pkg/kstatus, built once into the cache, and ourselves about generated objects of every kind that it has a rule for, and of
custom resources with conditions. What we decide otherwise on purpose stands in ``ON_PURPOSE``, each with its reason, and is counted; any other
difference ends this with 1. Writes benchmarks/results/kstatus.json.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._outcome import FAILED, PROGRESS, READY
from ansible_collections.barberpro.platform.plugins.module_utils._readiness import Related, assess

from benchmarks import judges

RESULT = Path(__file__).resolve().parent / "results" / "kstatus.json"
WORDS = {"Current": READY, "InProgress": PROGRESS, "Failed": FAILED, "Terminating": PROGRESS}
Obj = dict[str, Any]
OLD = "2026-01-01T00:00:00Z"


class Dice:
    """Draws objects, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, **fields: Callable[[], Any]) -> Obj:
        """Return a document in which each field is there more often than not."""
        return {name: make() for name, make in fields.items() if self.random.random() < 0.8}

    def count(self) -> int:
        """Return a number of replicas."""
        return self.random.choice([0, 1, 1, 1, 2, 2, 3])

    def conditions(self, *kinds: str, reasons: tuple[str, ...] = ("Because",)) -> list[Obj]:
        """Return conditions of some of these types."""
        chosen = [kind for kind in kinds if self.random.random() < 0.6]
        return [
            {"type": kind, "status": self.random.choice(["True", "True", "False", "Unknown"]), "reason": self.random.choice(reasons), "message": "told",
             "lastTransitionTime": OLD}
            for kind in chosen
        ]  # fmt: skip

    def choice(self, *items: Any) -> Any:
        """Return one of these."""
        return self.random.choice(items)

    def object(self) -> Obj:
        """Return an object of any kind."""
        make = self.random.choice(_MAKERS)
        api_version, kind, spec, status = make(self)
        metadata: Obj = {"name": "x", "namespace": "t", "uid": "u", "generation": 2}
        if self.random.random() < 0.03:
            metadata["deletionTimestamp"] = OLD
        if status and self.random.random() < 0.85:
            status["observedGeneration"] = 2 if self.random.random() < 0.9 else 1
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status}


Made = tuple[str, str, Obj, Obj]


def _deployment(dice: Dice) -> Made:
    reasons = ("NewReplicaSetAvailable", "NewReplicaSetAvailable", "ReplicaSetUpdated", "ProgressDeadlineExceeded")
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), dice.count)
    status = dice.some(**counts, conditions=lambda: dice.conditions("Available", "Progressing", reasons=reasons))
    return "apps/v1", "Deployment", dice.some(replicas=dice.count, progressDeadlineSeconds=lambda: dice.choice(600, 2**31 - 1)), status


def _statefulset(dice: Dice) -> Made:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "currentReplicas"), dice.count)
    status = dice.some(**counts, currentRevision=lambda: dice.choice("a", "b"), updateRevision=lambda: dice.choice("a", "b"))
    strategy = dice.choice({}, {"type": "OnDelete"}, {"type": "RollingUpdate"}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    return "apps/v1", "StatefulSet", {**dice.some(replicas=dice.count), **({"updateStrategy": strategy} if strategy else {})}, status


def _daemonset(dice: Dice) -> Made:
    names = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    return "apps/v1", "DaemonSet", {}, dice.some(**dict.fromkeys(names, dice.count))


def _replicaset(dice: Dice) -> Made:
    names = ("replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas")
    status = dice.some(**dict.fromkeys(names, dice.count), conditions=lambda: dice.conditions("ReplicaFailure"))
    return "apps/v1", "ReplicaSet", dice.some(replicas=dice.count), status


def _job(dice: Dice) -> Made:
    status = dice.some(startTime=lambda: OLD, active=dice.count, conditions=lambda: dice.conditions("Complete", "Failed", "Suspended"))
    return "batch/v1", "Job", {}, status


def _pod(dice: Dice) -> Made:
    status = dice.some(
        phase=lambda: dice.choice("Pending", "Running", "Succeeded", "Failed"),
        conditions=lambda: dice.conditions("Ready", "PodScheduled", reasons=("Because", "Unschedulable")),
        containerStatuses=lambda: [{"name": "c", "restartCount": 3, "state": dice.choice({"running": {}}, {"waiting": {"reason": "CrashLoopBackOff"}})}],
    )
    return "v1", "Pod", {"containers": [{"name": "c", "image": "i"}]}, status


def _crd(dice: Dice) -> Made:
    conditions = dice.conditions("NamesAccepted", "Established", reasons=("Installing", "Because"))
    return "apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions}


def _custom(dice: Dice) -> Made:
    return "example.org/v1", "Thing", {}, dice.some(conditions=lambda: dice.conditions("Ready", "Reconciling", "Stalled", "Available"))


def _plain(dice: Dice) -> Made:
    kind = dice.choice(("v1", "ConfigMap"), ("v1", "Secret"), ("batch/v1", "CronJob"), ("policy/v1", "PodDisruptionBudget"))
    return (*kind, {}, {})


def _claim(dice: Dice) -> Made:
    return "v1", "PersistentVolumeClaim", {}, dice.some(phase=lambda: dice.choice("Pending", "Bound", "Lost"))


def _service(dice: Dice) -> Made:
    return "v1", "Service", dice.some(type=lambda: dice.choice("ClusterIP", "LoadBalancer"), clusterIP=lambda: "10.0.0.1"), {}


_MAKERS: list[Callable[[Dice], Made]] = [_deployment, _statefulset, _daemonset, _replicaset, _job, _pod, _crd, _custom, _plain, _claim, _service]


# Where we decide otherwise: whether it is that case (object, ours, theirs), and why.
ON_PURPOSE: dict[str, tuple[Callable[[Obj, str, str], bool], str]] = {
    "a job that runs": (
        lambda obj, ours, theirs: obj["kind"] == "Job" and (ours, theirs) == (PROGRESS, READY),
        "kstatus: current once it has started; a deploy needs what the job does",
    ),
    "a pod that has failed": (
        lambda obj, ours, theirs: obj["kind"] == "Pod" and obj["status"].get("phase") == "Failed" and (ours, theirs) == (FAILED, READY),
        "kstatus: current, since it will not change any more; a deploy needs that it did its work",
    ),
    "a pod with a final problem": (
        lambda obj, ours, theirs: obj["kind"] == "Pod" and (ours, theirs) == (FAILED, PROGRESS),
        "kstatus looks at containers once the pod runs, and for a node before; one that crashes, or finds no node, does not heal by waiting",
    ),
    "a job that is suspended": (
        lambda obj, ours, theirs: obj["kind"] == "Job" and (ours, theirs) == (READY, PROGRESS),
        "kstatus: in progress, since it has not started; whoever suspends it does not want to wait for it",
    ),
    "a condition that is not true": (
        lambda obj, ours, theirs: obj["kind"] == "Thing" and (ours, theirs) == (PROGRESS, READY),
        "kstatus looks at Ready alone; controllers that say Available mean the same",
    ),
}


def compare(objects: list[Obj], answers: list[Obj], now: float) -> tuple[Counter[str], list[str]]:
    """Return how often we differ on purpose, by the reason's name, and sentences about all other differences."""
    known: Counter[str] = Counter()
    other = []
    for obj, answer in zip(objects, answers, strict=True):
        own = assess(obj, Related(pods=(), now=now))
        theirs = WORDS.get(str(answer["status"]), str(answer["status"]))
        if own.outcome == theirs:
            continue
        name = next((name for name, (is_case, _why) in ON_PURPOSE.items() if is_case(obj, own.outcome, theirs)), "")
        if name:
            known[name] += 1
        else:
            other.append(f"{obj['kind']}: we say {own.outcome} ({own.reason}), kstatus {theirs} ({answer.get('message')}): {json.dumps(obj)}")
    return known, other


def ask(objects: list[Obj]) -> list[Obj]:
    """Return what kstatus says of each object."""
    text = "".join(json.dumps(obj) + "\n" for obj in objects)
    done = subprocess.run([str(judges.built("kstatus", "kstatus"))], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    """Compare, write, print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = Dice(options.seed)
    objects = [dice.object() for _number in range(options.objects)]
    known, other = compare(objects, ask(objects), time.time())
    kinds = Counter(obj["kind"] for obj in objects)
    result = {
        "command": "make kstatus", "seed": options.seed, "objects": len(objects), "by_kind": dict(sorted(kinds.items())),
        "agreed": len(objects) - known.total() - len(other),
        "on_purpose": {name: {"count": known[name], "why": why} for name, (_case, why) in ON_PURPOSE.items()},
        "other_differences": len(other),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    for sentence in other[:20]:
        print(sentence, file=sys.stderr)
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
