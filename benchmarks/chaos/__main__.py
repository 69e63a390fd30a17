"""`make chaos`: deploys on the embedded cluster with faults injected at random; ARGS="--deploys 6 --seed 1" for a look.

Prints one line a deploy and the table; with 100 deploys or more it writes benchmarks/results/chaos.json and docs/chaos.md, too. The exit status is 0
when more than 95 % of the deploys succeeded, none left a tenant half-done and no confirmed booking was lost. Ctrl-C ends it after the deploys under way,
with what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.chaos import look, page
from benchmarks.chaos.outcome import Attempt, Outcome, is_good, summary
from benchmarks.chaos.plan import Deploy, plan
from benchmarks.chaos.run import Tenant
from benchmarks.chaos.writer import Writer
from tests.support import cluster
from tests.support.playbooks import remove

RESULT = Path(__file__).resolve().parents[1] / "results" / "chaos.json"
DOCUMENT = cluster.ROOT / "docs" / "chaos.md"
WHOLE = 100
TENANTS = ("chaos-norte", "chaos-sur")


class Chaos:
    """A run of all deploys: each tenant goes through its own, one after the other, the tenants side by side."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = cluster.ROOT / "reports" / f"chaos-{options.seed}-{time.strftime('%H%M%S')}"
        self.outcomes: list[Outcome] = []
        self.enough = threading.Event()
        self.begun = time.time()
        self.load = [round(value, 2) for value in os.getloadavg()]
        self.tenants = {name: Tenant(name, options.seed, self.work / name) for name in TENANTS[: options.side_by_side]}
        self.writers = {name: Writer(name, options.pause) for name in self.tenants}

    def run(self) -> dict[str, Any]:
        """Deploy all, and return the result."""
        if not self.options.keep:
            for name in self.tenants:
                remove(name)
        deploys = plan(self.options.seed, self.options.deploys, list(self.tenants))
        with ThreadPoolExecutor(len(self.tenants)) as pool:
            list(pool.map(Tenant.create, self.tenants.values()))
            say(f"{len(self.tenants)} tenants serve; {len(deploys)} deploys follow")
            for writer in self.writers.values():
                writer.start()
            lanes = [pool.submit(self._lane, [deploy for deploy in deploys if deploy.tenant == name]) for name in self.tenants]
            for lane in lanes:
                lane.result()
        for writer in self.writers.values():
            writer.stop()
        result = self.result({name: len(writer.lost(look.bookings(name))) for name, writer in self.writers.items()})
        if left := look.scratch_schemas():
            result["half_done"] += len(left)
            say(f"scratch schemas are left over: {', '.join(left)}")
        if not self.options.keep:
            for name in self.tenants:
                remove(name)
        return result

    def _lane(self, deploys: list[Deploy]) -> None:
        for deploy in deploys:
            if self.enough.is_set():
                return
            begun = time.time()
            try:
                outcome = self.tenants[deploy.tenant].deploy(deploy, self._expected())
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as error:
                # What cannot be looked at is no success, and no reason to stop.
                outcome = Outcome(deploy, (Attempt(1, 0.0, "unknown"),), (f"it cannot be said: {error}",), begun, time.time())
            self.outcomes.append(outcome)
            say(line(outcome, len(self.outcomes)))
            self.write(self.result({}), self.work / "chaos.json")

    def _expected(self) -> float:
        """Return what an undisturbed deploy takes."""
        quiet = [item.attempts[0].seconds for item in list(self.outcomes) if item.deploy.fault in ("none", "disk_full") and item.attempts[0].code == 0]
        return statistics.median(quiet) if quiet else self.options.expected

    def result(self, lost: dict[str, int]) -> dict[str, Any]:
        """Return the result so far; ``lost`` bookings by tenant are known at the end only."""
        confirmed = sum(len(writer.acknowledged) for writer in self.writers.values())
        failures = {name: list(writer.failures) for name, writer in self.writers.items()}
        asked = confirmed + sum(map(len, failures.values()))
        bookings = {"asked": asked, "confirmed": confirmed, "lost": sum(lost.values()) if lost else -1}
        outcomes = sorted(self.outcomes, key=lambda item: item.deploy.number)
        return {
            "command": f'make chaos ARGS="{" ".join(sys.argv[1:]) or f"--seed {self.options.seed}"}"',
            "seed": self.options.seed,
            "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.begun)),
            "seconds": round(time.time() - self.begun),
            "versions": versions(),
            "machine": {"cores": os.cpu_count(), "load_average": self.load},
            **summary(outcomes, failures, bookings),
            "reasons": sorted({failure.reason for found in failures.values() for failure in found})[:20],
        }

    @staticmethod
    def write(result: dict[str, Any], path: Path) -> None:
        """Write the result."""
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def versions() -> dict[str, str]:
    """Return what the figures were got with."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=cluster.ROOT, capture_output=True, text=True, check=False).stdout.strip()
    server = json.loads(cluster.kubectl("version", "-o", "json", check=False) or "{}").get("serverVersion", {}).get("gitVersion", "unknown")
    return {"checkout": head, "ansible-core": version("ansible-core"), "Kubernetes": server, "Python": platform.python_version(), "Linux": platform.release()}


def say(text: str) -> None:
    """Tell what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def line(outcome: Outcome, count: int) -> str:
    """Return one deploy as it is told."""
    deploy, first = outcome.deploy, outcome.attempts[0]
    how = f"{len(outcome.attempts)} run{'s' if len(outcome.attempts) > 1 else ''}, {'succeeded' if outcome.succeeded else 'FAILED'}"
    struck = f" at {first.struck:g} s" if first.struck is not None else ""
    detail = f" ({deploy.detail})" if deploy.detail else ""
    text = f"{count:3} deploy {deploy.number} of {deploy.tenant}: {deploy.fault}{detail}{struck}: {how} in {outcome.ended - outcome.begun:.0f} s"
    if first.code and first.said:
        text += f"; the first ended in {first.stage or 'the beginning'}: {first.said[:160]}"
    return text + "".join(f"\n    HALF-DONE: {problem}" for problem in outcome.problems)


def main() -> int:
    """Run, write, print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deploys", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="printed; the same gives the same faults")
    parser.add_argument("--side-by-side", type=int, default=2, choices=(1, 2), help="tenants")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two bookings of a customer")
    parser.add_argument("--expected", type=float, default=20.0, help="seconds that a deploy takes, until some have shown it")
    parser.add_argument("--keep", action="store_true", help="take tenants that are there already, and leave them")
    options = parser.parse_args()
    cluster.facts()
    say(f"seed {options.seed}: {options.deploys} deploys")
    chaos = Chaos(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: chaos.enough.set())
    result = chaos.run()
    chaos.write(result, chaos.work / "chaos.json")
    text = page.document(result)
    if result["deploys"] >= WHOLE:  # more than a look, and come to its end
        chaos.write(result, RESULT)
        DOCUMENT.write_text(text)
    print(text)
    return 0 if is_good(result) else 1


if __name__ == "__main__":
    sys.exit(main())
