"""The pure parts of make noisy-neighbour."""

from __future__ import annotations

import pytest

from benchmarks.noisy_neighbour import is_noisy, judged, kept, percentile


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_the_first_seconds_of_a_window_do_not_count() -> None:
    assert [is_noisy(moment, 20) for moment in (0, 19.9, 20, 39.9, 40)] == [False, False, True, True, False]
    assert [kept(moment, 20) for moment in (0, 2.9, 3, 19, 19.8, 23)] == [False, False, True, True, False, True]


def test_the_ratio_is_of_the_two_kinds_of_windows_and_failures_are_counted() -> None:
    quiet = [(float(moment), 0.010) for moment in range(100)]
    noisy = [(100.0 + moment, 0.011) for moment in range(99)] + [(199.0, None)]
    found = judged([*quiet, *noisy], 100)
    assert found["quiet"] == {"requests": 100, "failed": 0, "p50_ms": 10.0, "p90_ms": 10.0, "p99_ms": 10.0}
    assert (found["noisy"]["requests"], found["noisy"]["failed"], found["noisy"]["p99_ms"]) == (100, 1, 11.0)
    assert found["ratio_p99"] == 1.1
