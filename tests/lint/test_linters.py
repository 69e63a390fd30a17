"""Runs the linters over the whole checkout; a failure shows what the linter printed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"

MODULE_UTILS = "ansible_collections.barberpro.platform.plugins.module_utils"
SERVICES = sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("services/*/barberpro_*/__init__.py"))

LINTERS = {
    "ruff": ["ruff", "check", "."],
    "mypy-module-utils": ["mypy", "--no-incremental", "--package", MODULE_UTILS],
    "mypy-services": ["mypy", "--no-incremental", *SERVICES],
    "yamllint": ["yamllint", "--strict", "."],
    "changelog": ["antsibull-changelog", "lint"],
    "ansible-lint": ["ansible-lint", "--offline", "--profile", "production", "--strict", "-q"],
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("linter", LINTERS)
def test_linter_finds_nothing(linter: str) -> None:
    command = LINTERS[linter]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
