"""Runs every Molecule scenario: deploy or roll back, again without a change, verify, destroy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import secret_values
from tests.support.turns import turn

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


def test_the_scenarios_are_there() -> None:
    assert {"default", "rollback"} <= set(SCENARIOS)


@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_is_idempotent_and_verifies(scenario: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
    }
    with turn():
        done = subprocess.run(
            [str(ROOT / ".venv/bin/molecule"), "test", "--scenario-name", scenario],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )
    assert done.returncode == 0, f"{done.stdout[-12000:]}\n{done.stderr[-4000:]}"
    assert "[DEPRECATION WARNING]" not in done.stdout + done.stderr
    assert secret_values.shown(done.stdout + done.stderr, secret_values.found()) == []
