# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of a stage: checks side by side, each with its own deadline, against the budget of the stage.

A check runs in a daemon thread and is never joined beyond its deadline: one that hangs (a server that accepts and says nothing) becomes a
failed result with a sentence, and its thread dies with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Check, CheckFailed, Clients
from ansible_collections.barberpro.platform.plugins.module_utils._errors import KubeconfigError, PlatformError

COMMON: dict[str, dict[str, Any]] = {
    "check": {"type": "str", "required": True},
    "target": {"type": "str"},
    "wait": {"type": "float", "default": 0.0},
    "deadline": {"type": "float"},
    "skip_reason": {"type": "str", "default": ""},
}
# Seconds between two tries of a check that waits: first short, then longer, so that a quick success is seen quickly.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 2.0
NOT_BEGUN = ("not begun before the budget of the stage was spent", "run fewer checks or raise the budget")


class BadCheck(Exception):
    """A check is declared wrongly; the text is the sentence for the user."""


@dataclass(frozen=True)
class Planned:
    """A check that was validated: what to run, with what, for how long (seconds)."""

    name: str
    target: str
    run: Callable[[Mapping[str, Any], Clients], str]
    params: Mapping[str, Any]
    wait: float
    deadline: float
    skip_reason: str


@dataclass
class Outcome:
    """What became of a check; ``reason`` and ``next_step`` are set when it failed, ``evidence`` always."""

    check: str
    target: str
    outcome: str = "failed"
    evidence: str = ""
    elapsed_seconds: float = 0.0
    reason: str = ""
    next_step: str = ""

    def document(self) -> dict[str, Any]:
        """Return the fields of a check in the report."""
        return {
            "check": self.check,
            "target": self.target,
            "outcome": self.outcome,
            "evidence": self.evidence,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }

    def sentence(self) -> str:
        """Return ``check of target: reason``; a reason that begins with check or target does not name them twice."""
        if self.reason.startswith(f"{self.check} {self.target}"):
            return self.reason
        return f"{self.check} of {self.reason if self.reason.startswith(self.target) else f'{self.target}: {self.reason}'}"

    def fail(self, reason: str, next_step: str) -> None:
        """Make this a failure for ``reason``."""
        self.outcome, self.reason, self.next_step = "failed", reason, next_step
        self.evidence = f"{reason}; {next_step}" if next_step else reason


@dataclass
class Gate:
    """The outcome of a stage's gate; times are seconds."""

    stage: str
    budget_seconds: float
    elapsed_seconds: float
    outcomes: list[Outcome]
    budget_spent: bool

    @property
    def failures(self) -> list[Outcome]:
        """Return the checks that failed."""
        return [outcome for outcome in self.outcomes if outcome.outcome == "failed"]

    @property
    def result(self) -> str:
        """Return ``passed`` or ``failed``."""
        return "failed" if self.budget_spent or self.failures else "passed"

    def document(self) -> dict[str, Any]:
        """Return the stage as it stands in the report."""
        return {
            "name": self.stage,
            "budget_seconds": round(self.budget_seconds, 3),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "result": self.result,
            "checks": [outcome.document() for outcome in self.outcomes],
        }

    def error(self) -> str:
        """Return why the stage failed, without the next step."""
        parts = []
        if self.failures:
            named = "; ".join(item.sentence() for item in self.failures)
            parts.append(f"{len(self.failures)} of {len(self.outcomes)} checks: {named}")
        if self.budget_spent:
            parts.append(f"the budget of {seconds(self.budget_seconds)} is spent: the stage took {seconds(self.elapsed_seconds)}")
        return f"stage {self.stage} failed: {'; '.join(parts)}" if parts else ""

    def next_step(self) -> str:
        """Return what to do about the first failure."""
        for outcome in self.failures:
            if outcome.next_step:
                return outcome.next_step
        return "find out what made the stage slow, or raise its budget in the data of the vertical" if self.budget_spent else ""

    def sentence(self) -> str:
        """Return the sentence of a failed gate."""
        step = self.next_step()
        return f"{self.error()}; {step}" if step else self.error()


def seconds(value: float) -> str:
    """Return a duration as people say it: ``40 ms``, ``1.4 s``, ``12 s``, ``3 min 20 s``."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def plan_checks(
    declared: Sequence[Mapping[str, Any]], registry: Mapping[str, Check], deadline: float, check_mode: bool = False
) -> list[Planned]:
    """Validate the declared checks against the registry. Raises BadCheck naming the check and the parameter."""
    if not declared:
        raise BadCheck("a gate needs at least one check")
    return [_plan(number, item, registry, deadline, check_mode) for number, item in enumerate(declared, start=1)]


def _plan(number: int, item: Mapping[str, Any], registry: Mapping[str, Check], deadline: float, check_mode: bool) -> Planned:
    """Validate one declared check, the ``number``-th of its stage."""
    name = str(item.get("check") or "")
    if name not in registry:
        raise BadCheck(f"check number {number} is {name or 'without a name'!r}; known are {', '.join(sorted(registry))}")
    check = registry[name]
    skip = str(item.get("skip_reason") or "")
    if check_mode and not check.read_only and not skip:
        skip = "check mode"
    spec = {**COMMON, **check.argument_spec()}
    if skip:  # what is not run need not be complete: its parameters often depend on what was not there
        return Planned(name, str(item.get("target") or name), check.run, {}, 0.0, 0.0, skip)
    validated = ArgumentSpecValidator(spec).validate(dict(item))
    subject = f"check number {number} ({name} of {item.get('target') or 'no target'})"
    if validated.unsupported_parameters:
        unknown = ", ".join(sorted(".".join(path) if isinstance(path, tuple) else str(path) for path in validated.unsupported_parameters))
        raise BadCheck(f"{subject}: unknown parameter {unknown}; it takes {', '.join(sorted(spec))}")
    if validated.error_messages:
        raise BadCheck(f"{subject}: {'; '.join(validated.error_messages)}")
    params = validated.validated_parameters
    wait = float(params["wait"])
    limit = float(params["deadline"]) if params["deadline"] is not None else deadline + wait
    if limit <= 0 or wait < 0:
        raise BadCheck(f"{subject}: deadline is {limit:g} and wait is {wait:g}; they are seconds and deadline must be above zero")
    return Planned(name, str(params["target"] or check.subject(params)), check.run, params, wait, limit, "")


def run_gate(
    stage: str,
    budget_seconds: float,
    started: float | None,
    checks: Sequence[Planned],
    clients: Clients,
    concurrency: int = 8,
    clock: Callable[[], float] = time.time,
) -> Gate:
    """Run the checks of a stage that ``started`` (epoch seconds, default now) and may take ``budget_seconds`` in all."""
    begun = clock() if started is None else started
    left = budget_seconds - (clock() - begun)
    outcomes = [Outcome(item.name, item.target) for item in checks]
    if left <= 0:
        for outcome in outcomes:
            outcome.outcome = "skipped"
            outcome.evidence = f"not run: the budget of {seconds(budget_seconds)} was spent before the gate"
        return Gate(stage, budget_seconds, clock() - begun, outcomes, True)
    _run_all(list(zip(checks, outcomes, strict=True)), clients, concurrency, time.monotonic() + left)
    elapsed = clock() - begun
    return Gate(stage, budget_seconds, elapsed, outcomes, elapsed > budget_seconds)


def _run_all(work: list[tuple[Planned, Outcome]], clients: Clients, concurrency: int, end: float) -> None:
    """Run all checks, at most ``concurrency`` at a time, none beyond ``end`` (monotonic seconds)."""
    threads = []
    slots = threading.Semaphore(max(1, concurrency))
    for planned, outcome in work:
        thread = threading.Thread(target=_guard, args=(planned, outcome, clients, slots, end), name=f"gate-{planned.name}", daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


def _guard(planned: Planned, outcome: Outcome, clients: Clients, slots: threading.Semaphore, end: float) -> None:
    """Wait for a free slot, then for the check, but not beyond its deadline and the end of the budget."""
    if planned.skip_reason:
        outcome.outcome, outcome.evidence = "skipped", planned.skip_reason
        return
    # A slot in the last moment is of no use, whether it was waited for or this thread itself came late.
    last = end - FIRST_PAUSE
    if not slots.acquire(timeout=max(0.0, last - time.monotonic())):
        outcome.fail(*NOT_BEGUN)
        return
    try:
        begun = time.monotonic()
        if begun > last:
            outcome.fail(*NOT_BEGUN)
            return
        limit = min(planned.deadline, end - begun)
        box = _Box()
        thread = threading.Thread(target=_attempts, args=(planned, clients, begun + limit, box), name=f"check-{planned.name}", daemon=True)
        thread.start()
        thread.join(limit)
        outcome.elapsed_seconds = time.monotonic() - begun
    finally:
        slots.release()
    if box.evidence is not None:
        outcome.outcome, outcome.evidence = "passed", box.evidence
    elif box.final and box.failure:
        outcome.fail(box.failure.reason, box.failure.next_step)
    else:
        cut = " (what was left of the stage's budget)" if limit < planned.deadline else ""
        seen = f"; last seen: {box.failure.reason}" if box.failure else ""
        hint = box.failure.next_step if box.failure else "see whether what it talks to hangs, then deploy again"
        outcome.fail(f"no result within its deadline of {seconds(limit)}{cut}{seen}", hint)


@dataclass
class _Box:
    """Where a check's thread leaves its result; read by the gate's thread, which may give up before ``final``."""

    evidence: str | None = None
    failure: CheckFailed | None = None
    final: bool = False


def _attempts(planned: Planned, clients: Clients, end: float, box: _Box) -> None:
    """Run a check until it passes, fails for good, or has been tried for its ``wait`` seconds; leave the result in ``box``."""
    last_try = min(time.monotonic() + planned.wait, end - FIRST_PAUSE)
    pause = FIRST_PAUSE
    clients.set_end(end)
    while True:
        try:
            box.evidence = planned.run(planned.params, clients)
            return
        except CheckFailed as error:
            box.failure = error
            box.final = error.final or time.monotonic() + pause > last_try
        except PlatformError as error:  # an answer of the API server; its sentence carries the next step already
            box.failure = CheckFailed(error.message, final=isinstance(error, KubeconfigError))
            box.final = box.failure.final or time.monotonic() + pause > last_try
        except Exception as error:  # noqa: BLE001 - whatever a check meets is this check's failure, not the end of the others
            box.failure = CheckFailed(f"{type(error).__name__}: {error}", "this is unexpected; report it with the line above")
            box.final = True
        if box.final:
            return
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
