"""The collection runs clean on the oldest ansible-core that it supports, in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OLD = ROOT / ".venv-2.18" / "bin"
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml") if not path.name.endswith(".meta.yml"))


def run_old(*command: str, timeout: int = 280) -> subprocess.CompletedProcess[str]:
    """Run a program of the old environment in the checkout."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".venv-2.18" / "collections"),
        "ANSIBLE_DEPRECATION_WARNINGS": "true",
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(OLD / command[0]), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=timeout,
    )


def test_environment_has_the_oldest_supported_core() -> None:
    assert "[core 2.18." in run_old("ansible", "--version").stdout, "make setup-test makes .venv-2.18"


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_parses_without_deprecation_warnings(playbook: str) -> None:
    done = run_old("ansible-playbook", "--syntax-check", "-i", "inventories/embedded", f"{playbook}.yml")
    assert done.returncode == 0, done.stderr
    assert "DEPRECATION" not in done.stdout + done.stderr


@pytest.mark.slow
def test_unit_tests_of_the_plugins_pass() -> None:
    done = run_old("python", "-m", "pytest", "-c", "pyproject.toml", "--rootdir", ".", "-q", "-p", "no:cacheprovider", "tests/unit/plugins")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
