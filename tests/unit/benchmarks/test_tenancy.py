"""What one more tenant costs, computed from what fleets of several sizes cost."""

from __future__ import annotations

from benchmarks.tenancy import marginal


def test_what_a_small_fleet_waits_for_anyway_is_not_the_cost_of_a_tenant() -> None:
    # 4 s that any fleet waits, and 100 ms a tenant.
    waited = {str(size): (4000 + 100 * size) / size for size in (10, 100, 1000)}
    assert marginal(waited) == {"10-100": 100.0, "100-1000": 100.0}
    assert marginal({"3": 50.0}) == {}


def test_a_cost_that_grows_with_the_fleet_is_seen() -> None:
    squared = {str(size): 10.0 * size for size in (10, 100, 1000)}
    steps = list(marginal(squared).values())
    assert steps[1] > 1.3 * steps[0]
