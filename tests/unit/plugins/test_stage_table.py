"""The stages as text, and the callback that prints them."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from unittest import mock

from ansible_collections.barberpro.platform.plugins.callback.stages import COLLECTED_EVERY, CallbackModule
from ansible_collections.barberpro.platform.plugins.module_utils._stage_table import summaries, table

STAGE = {"name": "validation", "result": "passed", "elapsed_seconds": 1.0, "budget_seconds": 60, "checks": []}


def report(**more: Any) -> dict[str, Any]:
    return {"tenant": "b", "revision": "r1", "result": "succeeded", "elapsed_seconds": 3, "stages": [STAGE], "url": "https://b.test/", **more}


def test_one_summary_a_tenant_in_order_and_the_last_report_counts() -> None:
    found = summaries([{"report": report(result="failed")}, {"report": report()}, {"report": report(tenant="a", revision="")}, {"changed": False}])
    assert [summary.heading for summary in found] == ["a: succeeded in 3.0 s", "b r1: succeeded in 3.0 s"]


def test_last_lines() -> None:
    found = summaries([{"report": report(), "report_path": "/r/report.json", "html_path": "/r/report.html"}])[0]
    assert found.last_lines == ["Open:   https://b.test/", "Report: /r/report.html"]
    found = summaries([{"report": report(result="failed", error="word " * 40, undone=["a", "b"]), "config_map": "s/report-b"}])[0]
    assert found.last_lines[0].startswith("Failed: word word")
    assert found.last_lines[1].startswith("        word")
    assert found.last_lines[-2:] == ["Undone: a; b", "Report: ConfigMap s/report-b"]
    assert summaries([{"report": report()}])[0].last_lines[-1] == "Report: none was written"
    assert max(len(line) for line in found.last_lines) <= 110


def test_no_stages_no_table() -> None:
    assert table({"stages": [], "planned_stages": []}) == []


class Result:
    """What a callback is given, as ansible-core 2.19 does (public names) or 2.18 (underscored)."""

    def __init__(self, action: str, data: dict[str, Any], public: bool) -> None:
        task = mock.Mock(action=action, resolved_action=action if public else None)
        if public:
            self.task, self.result = task, data
        else:
            self._task, self._result = task, data


def printed(*results: Result) -> list[str]:
    callback = CallbackModule()
    lines: list[str] = []
    with mock.patch.object(callback, "_display") as display:
        display.display = lambda text, **_more: lines.append(text)
        for result in results:
            callback.v2_runner_on_ok(result)
        callback.v2_playbook_on_stats(None)
    return lines


def test_the_callback_prints_reports_only() -> None:
    name = "barberpro.platform.run_report"
    for public in (True, False):
        lines = printed(Result("ansible.builtin.debug", {"report": report(tenant="x")}, public), Result(name, {"report": report()}, public))
        assert lines[:2] == ["", "b r1: succeeded in 3.0 s"]
        assert lines[2].startswith("  stage")
    assert printed() == []


class Knot:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


def test_a_long_run_does_not_keep_its_garbage() -> None:
    callback, knot = CallbackModule(), Knot()
    there = weakref.ref(knot)
    try:
        callback.v2_playbook_on_task_start(None, False)
        del knot
        gc.collect()
        assert there() is not None, "the collector looks through what was there before a task"
        for _task in range(COLLECTED_EVERY):
            callback.v2_playbook_on_task_start(None, False)
        assert there() is None
    finally:
        gc.unfreeze()
