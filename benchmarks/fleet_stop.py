"""How soon a bad release is stopped on its way through a fleet, and how rarely a good one is: exact, not simulated.

`make fleet-stop` writes benchmarks/results/fleet_stop.json and prints both curves. For each true share of tenants that go wrong the
distribution of failures is carried from tenant to tenant (dynamic programming); what reaches the limit at the end of a wave leaves it.
Rates up to the null rate give the false stops, higher ones how many tenants a bad release meets.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import Rule, e_value, early

RESULTS = Path(__file__).resolve().parent / "results"
WAVES = [1, 2, 3, 4, 10, 25, 50, 100]
RATES = (0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)
DEFAULT = Rule(null_rate=0.05, alpha=0.01, failure_budget="10%", error_ratio=0.01, minimum_requests=50)


@functools.cache
def critical(rule: Rule, total: int) -> list[list[int]]:
    """Return the lowest number of failures at which the evidence reaches its limit.

    By the number of tenants tried (from 1 to ``total``), and then by how many went wrong among the first that the rule bets on.
    """
    first = early(rule.null_rate, rule.alpha).tenants
    found: list[list[int]] = []
    for tried in range(1, total + 1):
        # Behind the first the limit never falls.
        start = found[-1] if tried > first + 1 else range(first + 1)
        found.append([_least(rule, tried, seen, start[seen]) for seen in range(first + 1)])
    return found


def _least(rule: Rule, tried: int, seen: int, start: int) -> int:
    """Return the lowest number of failures from ``start`` on that reaches the limit with ``seen`` among the first; ``tried`` + 1 when none does."""
    least = start
    while least <= tried and e_value(least, tried, rule.null_rate, rule.alpha, seen) < 1 / rule.alpha:
        least += 1
    return least


def ends(waves: Sequence[int], total: int) -> list[int]:
    """Return how many tenants were tried after each wave; the last size is repeated."""
    found, done = [], 0
    while done < total:
        done = min(total, done + waves[min(len(found), len(waves) - 1)])
        found.append(done)
    return found


def chance_of_a_stop(rate: float, rule: Rule, total: int, waves: Sequence[int]) -> dict[str, Any]:
    """Return how a release of which a share ``rate`` of tenants goes wrong fares in a fleet of ``total``.

    ``stopped`` is the probability that it is stopped before the last tenant, ``within_ten`` with ten tenants tried at most, ``mean_tried``
    the mean number of tenants that it meets. A stop is by the evidence or by the failure budget, looked at after each wave.
    """
    limits, looks, budget = critical(rule, total), set(ends(waves, total)), rule.budget(total)
    first = early(rule.null_rate, rule.alpha).tenants
    # Probability of each number of failures, not stopped so far, by how many of them were among the first.
    alive = [[1.0], *([0.0] for _seen in range(first))]
    stopped = within_ten = mean = 0.0
    for tried in range(1, total + 1):
        # One more of the first that goes wrong is one more among the first.
        came_from = alive if tried > first else [[], *alive[:-1]]
        alive = [_next(right, wrong, rate) for right, wrong in zip(alive, came_from, strict=True)]
        if tried in looks and tried < total:
            cuts = [min(limit, budget + 1) for limit in limits[tried - 1]]
            leaving = sum(sum(row[cut:]) for row, cut in zip(alive, cuts, strict=True))
            alive = [row[:cut] for row, cut in zip(alive, cuts, strict=True)]
            stopped, mean = stopped + leaving, mean + leaving * tried
            within_ten += leaving if tried <= 10 else 0.0
    return {"rate": rate, "stopped": stopped, "within_ten": within_ten, "mean_tried": mean + sum(map(sum, alive)) * total}


def _next(right: Sequence[float], wrong: Sequence[float], rate: float) -> list[float]:
    """Return the probabilities by failures after one more tenant: those in ``right`` see it go well, those in ``wrong`` do not."""
    return [
        (right[bad] * (1 - rate) if bad < len(right) else 0.0) + (wrong[bad - 1] * rate if 0 < bad <= len(wrong) else 0.0)
        for bad in range(max(len(right), len(wrong) + 1))
    ]


def main() -> None:
    """Compute both curves, print them and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    tenants = parser.parse_args().tenants
    rows = [chance_of_a_stop(rate, DEFAULT, tenants, WAVES) for rate in RATES]
    print(f"{tenants} tenants in waves of {WAVES}\n{'goes wrong':>10}  {'stopped':>9}  {'within 10':>9}  {'tenants met':>11}")
    for row in rows:
        print(f"{row['rate']:>10.0%}  {row['stopped']:>9.3%}  {row['within_ten']:>9.3%}  {row['mean_tried']:>11.1f}")
    rounded = [{name: round(value, 6) for name, value in row.items()} for row in rows]
    document = {"tenants": tenants, "waves": WAVES, "rule": vars(DEFAULT), "rows": rounded}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fleet_stop.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
