"""When credentials may be rotated again: the same wherever the machine of the run is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def rotated(path: str, task: str) -> str:
    """Return the expression by which a task notes when it rotated."""
    (found,) = [entry for entry in yaml.safe_load((ROOT / "roles/pipeline/tasks" / path).read_text()) if entry["name"] == task]
    return str(found["kubernetes.core.k8s"]["definition"]["metadata"]["annotations"]["barberpro.platform/rotated"])


def asked(folder: Path, zone: str, note: str) -> dict[str, Any]:
    """Return what a run in a time zone makes of credentials that were rotated a moment ago."""
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")],
        "vars": {
            "pipeline_tenant_name": "shop", "__pipeline_name": "shop", "__pipeline_left": {"next": "none"},
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "__pipeline_secrets": [{"metadata": {"name": "booking-database", "annotations": {"barberpro.platform/rotated": "{{ note }}"}}}],
            "problems": "{{ __pipeline_rotation_problems | selectattr('wrong') | map(attribute='say') | list }}",
            "answer": {"ago": "{{ __pipeline_rotated_ago | int }}", "problems": "{{ problems }}"},
        },
        "tasks": [
            # Rotated before it is asked: an expression among the variables would be read anew, later than the question's own time.
            {"ansible.builtin.set_fact": {"note": note}},
            {"ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": f"{folder}/answer.json"}},
        ],
    }  # fmt: skip
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", str(folder / "play.yml")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return found


@pytest.mark.parametrize("zone", ["UTC", "America/Argentina/Buenos_Aires", "Europe/Madrid"])
@pytest.mark.parametrize(("path", "task"), [("change_over.yml", "Have the services change over"), ("rotate_for_jobs.yml", "Keep it where jobs read it")])
def test_a_second_rotation_waits_for_the_pods_wherever_it_runs(tmp_path: Path, zone: str, path: str, task: str) -> None:
    said = asked(tmp_path, zone, rotated(path, task))
    assert 0 <= int(said["ago"]) < 60
    (problem,) = said["problems"]
    assert "were rotated" in problem
    assert "pods may still use the role that would be next" in problem
