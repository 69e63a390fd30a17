"""A target that a figure misses is told with its figure, and one that was not measured is not called met."""

from __future__ import annotations

from benchmarks.targets import Target, judged

TARGETS = (Target("seconds.ours", "<=", 60), Target("ratio.helm", ">=", 10), Target("ratio.kapp", ">", 1), Target("dry_run_seconds", "<=", 3))


def test_each_figure_is_judged_by_its_own_bound() -> None:
    result = {"seconds": {"ours": 60}, "ratio": {"helm": 9.99, "kapp": 1.0}, "dry_run_seconds": None}
    assert judged(result, TARGETS) == {
        "met": ["seconds.ours <= 60: 60"],
        "missed": ["ratio.helm >= 10: 9.99", "ratio.kapp > 1: 1"],
        "not_measured": ["dry_run_seconds <= 3"],
    }


def test_a_figure_that_is_not_there_is_not_measured() -> None:
    assert judged({"seconds": 5}, TARGETS)["not_measured"] == [f"{target.path} {target.sign} {target.bound:g}" for target in TARGETS]
