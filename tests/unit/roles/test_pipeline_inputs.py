"""Which overrides of a tier's quota are refused, by the role's own expression."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
VARIABLES = yaml.safe_load((ROOT / "roles/pipeline/vars/main.yml").read_text())
CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "none": ({}, False), "good": ({"cpu": "500m", "memory": "8Gi", "pods": 20, "objects": "80"}, False), "core": ({"cpu": 2}, False),
    "percentage": ({"cpu": "50%"}, True), "negative": ({"memory": "-1Gi"}, True), "half a pod": ({"pods": "1.5"}, True), "nothing": ({"objects": 0}, True),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What the role says of every case, by one run of Ansible."""
    folder = tmp_path_factory.mktemp("inputs")
    (wrong,) = [problem["wrong"] for problem in VARIABLES["__pipeline_problems"] if "is no amount" in problem["say"]]
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")],
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}", "wrong": wrong, "cases": {name: case for name, (case, _bad) in CASES.items()}},
        "tasks": [{
            "ansible.builtin.copy": {"content": "{{ wrong | bool }}", "dest": str(folder) + "/{{ item.key }}"},
            "vars": {"pipeline_quota_overrides": "{{ item.value }}"}, "loop": "{{ cases | dict2items }}",
        }],
    }]
    (folder / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (folder / name).read_text() == "True" for name in CASES}


@pytest.mark.parametrize("case", CASES)
def test_a_value_that_is_no_amount_is_refused(case: str, refused: dict[str, bool]) -> None:
    assert refused[case] is CASES[case][1]
