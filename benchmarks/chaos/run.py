"""Deploys as an operator does: with the playbook, and once more, a few times at most, when it failed."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.chaos import faults, look
from benchmarks.chaos.outcome import Attempt, Outcome
from benchmarks.chaos.plan import Deploy, variables
from benchmarks.chaos.state import shape
from tests.support import cluster, outages
from tests.support.outages import ClusterError
from tests.support.playbooks import command_of, environment_of

ATTEMPTS = 4
TIMEOUT = 900.0
STAGES = ("validation", "infrastructure", "containers", "configuration", "testing", "dns_ssl", "monitoring", "commit")
_GATE = re.compile(r": Gate of (\w+)\]")


class Tenant:
    """A tenant under chaos: the kinds of objects that are looked at, the shape that it has when it is whole."""

    def __init__(self, name: str, seed: int, work: Path) -> None:
        self.name, self.seed, self.work = name, seed, work
        self.kinds = look.kinds()
        self.shape: frozenset[str] = frozenset()

    def create(self) -> None:
        """Deploy it for the first time, undisturbed. Raises RuntimeError."""
        attempt = self._attempt(Deploy(-1, self.name, "none", 0.0, 0.0), faults.Armed(), 0, 60.0)
        if attempt.code:
            raise RuntimeError(f"the first deploy of {self.name} failed: {attempt.said}; see {self.work}")
        seen = look.look(self.name, self.kinds)
        self.shape = shape(seen.objects)

    def deploy(self, deploy: Deploy, expected: float) -> Outcome:
        """Deploy under a fault, again without it where that failed, and look at what is left. ``expected`` is what a deploy takes, in seconds."""
        begun, attempts = time.time(), []
        work = self._folder(deploy)
        problems: list[str] = []
        with faults.armed(deploy, work) as fault:
            attempts.append(self._attempt(deploy, fault, 0, expected))
        outages.await_api_server()
        refused = deploy.fault == "image_missing"
        if refused and attempts[0].code == 0:
            problems.append("it was deployed with an image that is missing")
        if refused:  # and is now as before
            problems += look.settled(self.name, self.kinds, self.shape)[1]
        while attempts[-1].code and len(attempts) < ATTEMPTS:
            attempts.append(self._attempt(deploy, faults.Armed(), len(attempts), expected))
        tagline = variables(self.seed, deploy.number, self.name)["business"]["branding"]["tagline"] if attempts[-1].code == 0 else None
        problems += look.settled(self.name, self.kinds, self.shape, tagline)[1]
        return Outcome(deploy, tuple(attempts), tuple(problems), begun, time.time())

    def _folder(self, deploy: Deploy) -> Path:
        folder = self.work / (f"{deploy.number:03}" if deploy.number >= 0 else "first")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _attempt(self, deploy: Deploy, fault: faults.Armed, number: int, expected: float) -> Attempt:
        folder = self._folder(deploy)
        reports, log = folder / f"reports-{number}", folder / f"run-{number}.log"
        wanted = variables(self.seed, deploy.number, self.name, other=number > 0 and deploy.wants_something_else)
        extra = {**wanted, "pipeline_report_path": str(reports), **fault.variables}
        begun, begun_at = time.monotonic(), time.time()
        with log.open("w") as target:
            process = subprocess.Popen(
                command_of("deploy_vertical.yml", (), extra, "inventories/embedded"), cwd=cluster.ROOT, env=environment_of(**fault.environment),
                stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT, start_new_session=True, text=True,
            )  # fmt: skip
            try:
                struck = self._strike(process, fault, deploy.moment * expected)
                met = stage_of(log.read_text(errors="replace")) if struck is not None else ""
                process.wait(timeout=TIMEOUT)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        report, text = _report(reports), log.read_text(errors="replace")
        stages = [str(stage["name"]) for stage in report.get("stages") or []]
        return Attempt(
            code=process.returncode,
            seconds=round(time.monotonic() - begun, 1),
            result="killed" if process.returncode < 0 else str(report.get("result") or ("succeeded" if process.returncode == 0 else "failed")),
            struck=struck,
            stage=met or (stages[-1] if stages else stage_of(text)),
            said=_last_words(text, report),
            skew=_skew(report, begun_at),
        )

    @staticmethod
    def _strike(process: subprocess.Popen[str], fault: faults.Armed, after: float) -> float | None:
        """Do what the fault does after so many seconds, a moment later when the neighbour's fault is in the way (the API server is away).

        Returns when it was done, None when the run had ended before.
        """
        begun = time.monotonic()
        while fault.strike is not None and not _ended(process, begun + after - time.monotonic()):
            try:
                fault.strike(process)
            except (AssertionError, OSError, subprocess.SubprocessError, ClusterError):
                after = time.monotonic() - begun + 1.0
                continue
            return round(time.monotonic() - begun, 1)
        return None


def _ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for the end of a process. Returns whether it came within so many seconds."""
    try:
        process.wait(timeout=max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def _report(folder: Path) -> dict[str, Any]:
    found = sorted(folder.glob("*/*/report.json"))
    document: dict[str, Any] = json.loads(found[-1].read_text()) if found else {}
    return document


def stage_of(log: str) -> str:
    """Return the stage that a run is in, by the tasks that it has printed so far: the one whose gate it has reached, or that after the last gate."""
    tasks = [line for line in log.splitlines() if line.startswith("TASK [")]
    gates = [found[1] for line in tasks if (found := _GATE.search(line))]
    if not gates:
        return STAGES[0]
    at_gate = _GATE.search(tasks[-1]) is not None
    return gates[-1] if at_gate or gates[-1] not in STAGES[:-1] else STAGES[STAGES.index(gates[-1]) + 1]


def _last_words(log: str, report: dict[str, Any]) -> str:
    if report.get("error"):
        return str(report["error"])[:400]
    wrong = [line for line in log.splitlines() if "[ERROR]" in line or line.startswith(("fatal:", "ERROR"))]
    return wrong[-1][:400] if wrong else ""


def _skew(report: dict[str, Any], begun: float) -> float | None:
    """Return by how many seconds the runner's clock was wrong, as its report shows."""
    if not report.get("started"):
        return None
    return round(datetime.datetime.fromisoformat(report["started"].replace("Z", "+00:00")).timestamp() - begun)
