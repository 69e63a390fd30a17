"""The gate of a stage: side by side, deadlines, budgets, and the sentences people read."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import Check, CheckFailed, Clients, Param, listed, plural, subject
from ansible_collections.barberpro.platform.plugins.module_utils._errors import KubeconfigError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._gate import BadCheck, Gate, plan_checks, run_gate, seconds
from ansible_collections.barberpro.platform.plugins.modules import stage_gate

from tests.support import modules


def _clients() -> Clients:
    def unreachable() -> Any:
        raise KubeconfigError("kubeconfig /none does not exist; give one")

    return Clients(unreachable)


class Counter:
    """A check that fails a number of times, then passes."""

    def __init__(self, failures: int, final: bool = False, error: Exception | None = None) -> None:
        self.left, self.calls = failures, 0
        self.final, self.error = final, error

    def __call__(self, params: Mapping[str, Any], _clients: Clients) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        if self.left > 0:
            self.left -= 1
            raise CheckFailed(f"Thing {params['thing']}: {self.left} to go", "wait a little", self.final)
        return f"{params['thing']} is fine"


def run(run_check: Any, *declared: dict[str, Any], budget: float = 60, started: float | None = None, deadline: float = 5, **options: Any) -> Gate:
    checks = {"it": Check("it", run_check, {"thing": Param("The thing.", default="t")}, subject("Thing {thing}"), **options)}
    planned = plan_checks(declared or [{"check": "it"}], checks, deadline)
    return run_gate("containers", budget, started, planned, _clients())


def test_passed() -> None:
    gate = run(Counter(0), {"check": "it", "thing": "a"}, {"check": "it", "target": "mine"})
    document = gate.document()
    assert gate.result == "passed"
    assert gate.sentence() == ""
    assert document["name"] == "containers"
    assert document["budget_seconds"] == 60
    assert [check["target"] for check in document["checks"]] == ["Thing a", "mine"]
    assert set(document["checks"][0]) == {"check", "target", "outcome", "evidence", "elapsed_seconds"}
    assert document["checks"][0]["evidence"] == "a is fine"


def test_a_failure_says_what_why_and_what_to_do() -> None:
    gate = run(Counter(9), {"check": "it"}, {"check": "it", "target": "other"}, {"check": "it", "skip_reason": "not today"})
    assert gate.error() in (
        "stage containers failed: 2 of 3 checks: it of Thing t: 8 to go; it of other: Thing t: 7 to go",
        "stage containers failed: 2 of 3 checks: it of Thing t: 7 to go; it of other: Thing t: 8 to go",
    )
    assert gate.sentence() == f"{gate.error()}; wait a little"
    assert gate.document()["checks"][2]["outcome"] == "skipped"
    assert gate.document()["checks"][2]["evidence"] == "not today"
    assert gate.document()["checks"][0]["evidence"].endswith("to go; wait a little")


def test_a_failure_that_may_heal_is_tried_again_for_as_long_as_declared() -> None:
    healing = Counter(2)
    assert run(healing, {"check": "it", "wait": 5}).result == "passed"
    assert healing.calls == 3
    final = Counter(2, final=True)
    assert run(final, {"check": "it", "wait": 5}).result == "failed"
    assert final.calls == 1


def test_a_hanging_check_is_reported_not_awaited() -> None:
    begun = time.monotonic()
    gate = run(lambda _params, _clients: time.sleep(30) or "late", {"check": "it", "deadline": 0.3})
    assert time.monotonic() - begun < 25
    assert gate.error() == "stage containers failed: 1 of 1 checks: it of Thing t: no result within its deadline of 300 ms"
    assert gate.next_step() == "see whether what it talks to hangs, then deploy again"


def test_a_check_that_hangs_after_a_failure_says_what_was_seen_last() -> None:
    seen: list[int] = []

    def hang(_params: Mapping[str, Any], _clients: Clients) -> str:
        seen.append(1)
        if len(seen) > 1:
            time.sleep(30)
        raise CheckFailed("Pod x is not ready", "look at it")

    gate = run(hang, {"check": "it", "wait": 20, "deadline": 1})
    assert gate.error().endswith("no result within its deadline of 1.0 s; last seen: Pod x is not ready")
    assert gate.next_step() == "look at it"


def test_checks_run_side_by_side_within_the_bound() -> None:
    running, most = 0, 0
    lock, three = threading.Lock(), threading.Barrier(3)

    def slow(_params: Mapping[str, Any], _clients: Clients) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # None ends before three are there: one after the other, all would wait until their deadline.
        three.wait(60)
        with lock:
            running -= 1
        return "done"

    checks = {"it": Check("it", slow, {}, subject("x"))}
    planned = plan_checks([{"check": "it"}] * 6, checks, 60)
    assert run_gate("s", 60, None, planned, _clients(), concurrency=3).result == "passed"
    assert most == 3


def test_a_spent_budget_fails_the_stage_and_runs_nothing() -> None:
    counter = Counter(0)
    gate = run(counter, budget=5, started=time.time() - 7.2)
    assert counter.calls == 0
    assert gate.error() == "stage containers failed: the budget of 5.0 s is spent: the stage took 7.2 s"
    assert gate.next_step().startswith("find out what made the stage slow")
    assert gate.document()["checks"][0] == {
        "check": "it",
        "target": "Thing t",
        "outcome": "skipped",
        "evidence": "not run: the budget of 5.0 s was spent before the gate",
        "elapsed_seconds": 0.0,
    }


def test_the_rest_of_the_budget_bounds_every_check() -> None:
    begun = time.monotonic()
    gate = run(lambda _params, _clients: time.sleep(30) or "late", *[{"check": "it"}] * 9, budget=2)
    assert time.monotonic() - begun < 25
    assert "(what was left of the stage's budget)" in gate.error()
    assert "not begun before the budget of the stage was spent" in gate.error()
    assert gate.budget_spent


def test_a_check_whose_turn_comes_in_the_last_moment_is_not_begun() -> None:
    counter = Counter(0)
    planned = plan_checks([{"check": "it"}], {"it": Check("it", counter, {}, subject("Thing t"))}, 5)
    gate = run_gate("containers", 5, 0.0, planned, _clients(), clock=lambda: 4.9)
    assert counter.calls == 0
    assert "it of Thing t: not begun before the budget of the stage was spent" in gate.error()
    assert gate.next_step() == "run fewer checks or raise the budget"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PlatformError("Service x: refused"), "it of Thing t: Service x: refused"),
        (ValueError("bad"), "it of Thing t: ValueError: bad"),
        (KubeconfigError("kubeconfig x does not exist; name one"), "it of Thing t: kubeconfig x does not exist; name one"),
    ],
)
def test_other_errors_are_the_checks_own(error: Exception, text: str) -> None:
    assert run(Counter(0, error=error), {"check": "it", "wait": 0}).error() == f"stage containers failed: 1 of 1 checks: {text}"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ([], "a gate needs at least one check"),
        ([{"thing": "x"}], "check number 1 is 'without a name'; known are it"),
        ([{"check": "it"}, {"check": "that"}], "check number 2 is 'that'; known are it"),
        (
            [{"check": "it", "target": "x", "thang": 1}],
            "check number 1 (it of x): unknown parameter thang; it takes check, deadline, skip_reason, target, thing, wait",
        ),
        ([{"check": "it", "wait": "long"}], "check number 1 (it of no target): argument 'wait' is of type"),
        ([{"check": "it", "deadline": 0}], "check number 1 (it of no target): deadline is 0 and wait is 0; they are seconds and deadline must be above zero"),
    ],
)
def test_a_wrong_declaration_is_refused_before_anything_runs(declared: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(BadCheck) as caught:
        plan_checks(declared, {"it": Check("it", Counter(0), {"thing": Param("", required=False)}, subject("x"))}, 5)
    assert sentence in str(caught.value)


def test_checks_that_write_are_skipped_in_check_mode() -> None:
    registry = {"it": Check("it", Counter(0), {"must": Param("", required=True)}, subject("x"), read_only=False)}
    planned = plan_checks([{"check": "it"}], registry, 5, check_mode=True)
    assert (planned[0].skip_reason, planned[0].target) == ("check mode", "it")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0404, "40 ms"), (1.44, "1.4 s"), (12.4, "12 s"), (119.6, "120 s"), (120, "2 min"), (200.4, "3 min 20 s"), (5400, "90 min")]
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_words() -> None:
    assert [plural(1, "entry"), plural(2, "entry"), plural(2, "day"), plural(0, "schema"), plural(3, "box")] == [
        "1 entry",
        "2 entries",
        "2 days",
        "0 schemas",
        "3 boxes",
    ]
    assert listed(list("abcdefg"), 3) == "a, b, c and 4 more"
    assert listed(["a", "b"]) == "a, b"


def test_the_module_fails_with_the_evidence_of_all_checks() -> None:
    declared = [{"check": "plan", "plan": {"error": "no plan"}}, {"check": "plan", "plan": {"revision": "r1", "changed": False}}]
    found = modules.call(stage_gate, {"stage": "validation", "budget_seconds": 60, "checks": declared})
    assert found["failed"]
    assert found["msg"] == "stage validation failed: 1 of 2 checks: plan of release: no plan"
    assert [check["outcome"] for check in found["stage"]["checks"]] == ["failed", "passed"]
    assert found["error"] == found["msg"]
    assert found["next_step"] == ""
    good = modules.call(stage_gate, {"stage": "validation", "budget_seconds": 60, "checks": declared[1:]})
    assert good["stage"]["result"] == "passed"
    assert good["changed"] is False
    late = modules.call(stage_gate, {"stage": "validation", "budget_seconds": 60, "checks": declared, "started": time.time() + 10800})
    assert "stage validation: started is 10800 s in the future; give seconds since the epoch, now().timestamp()" in late["msg"]
    bad = modules.call(stage_gate, {"stage": "validation", "budget_seconds": 60, "checks": [{"check": "none"}]})
    assert bad["msg"].startswith("stage validation: check number 1 is 'none'; known are access, booking_flow, capacity, cluster,")
