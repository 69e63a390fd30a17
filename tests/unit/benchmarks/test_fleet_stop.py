"""The page about fleets tells what was computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import early

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations" / "fleet.md").read_text()
RESULT = json.loads((ROOT / "benchmarks" / "results" / "fleet_stop.json").read_text())


def test_the_curves_are_those_of_the_result() -> None:
    rows = re.findall(r"^\| (\d+) % \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 8
    computed = {round(row["rate"] * 100): row for row in RESULT["rows"]}
    for rate, *shown in rows:
        row = computed[int(rate)]
        assert shown == [f"{row['stopped'] * 100:.3f}", f"{row['within_ten'] * 100:.3f}", f"{row['mean_tried']:.1f}"], rate


def test_the_bet_is_the_one_that_is_told() -> None:
    bet = early(RESULT["rule"]["null_rate"], RESULT["rule"]["alpha"])
    assert (bet.wrong, bet.tenants) == (3, 9)
    assert "that three of the first nine go wrong" in PAGE
