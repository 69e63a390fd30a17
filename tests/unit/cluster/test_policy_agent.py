"""The policy agent's own tests, with the flags of its build, so that what was compiled for it is used again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from barberpro_cluster.binaries import ENVIRONMENT

SOURCE = Path(__file__).resolve().parents[3] / "cluster" / "policy_agent"


def go(*words: str) -> str:
    """Run a go command in the module; returns its output."""
    done = subprocess.run(
        ["go", *words], cwd=SOURCE, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_the_policy_agents_own_tests_pass():
    output = go("test", "-trimpath", "./...")
    assert output.count("ok  \t") == 5, output


def test_the_policy_agent_is_formatted_and_vetted():
    unformatted = subprocess.run(["gofmt", "-l", "."], cwd=SOURCE, capture_output=True, text=True, check=True).stdout
    assert unformatted == ""
    go("vet", "-trimpath", "-tags=netns", "./...")
