"""A platform that tenants live on is not moved to another zone or database by the way."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_pipeline_backup import CORES, ROOT

TASK = "Refuse to take from the tenants what they live by"
ZONE = "platform_zone 'new.example' would take the place of 'old.example', below which the tenants of this cluster are served"
DATABASE = "platform_database_name 'other' would take the place of 'barberpro', in which the data of the tenants is"


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
@pytest.mark.parametrize(
    ("given", "tenants", "confirm", "said"),
    [
        ({"zone": "old.example", "database_name": "other"}, True, "", [ZONE]),
        ({"zone": "old.example", "database_name": "other"}, True, "new.example", []),
        ({"zone": "old.example", "database_name": "other"}, False, "", []),
        ({"zone": "new.example", "database_name": "barberpro"}, True, "new.example", [DATABASE]),
        ({"zone": "new.example", "database_name": "barberpro"}, True, "other", []),
        ({"zone": "old.example", "database_name": "barberpro"}, True, "", [ZONE, DATABASE]),
        ({"zone": "new.example", "database_name": "other"}, True, "", []),
        ({}, True, "", []),
    ],
)  # fmt: skip
def test_who_lives_there_is_asked(core: str, tmp_path: Path, given: dict[str, str], tenants: bool, confirm: str, said: list[str]) -> None:
    (task,) = [entry for entry in yaml.safe_load((ROOT / "roles/platform/tasks/discover.yml").read_text()) if entry["name"] == TASK]
    facts: dict[str, Any] = {"facts": base64.b64encode(json.dumps(given).encode()).decode()}
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task],
        "vars_files": [str(ROOT / "roles/platform/defaults/main.yml"), str(ROOT / "roles/platform/vars/main.yml")],
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}", "__platform_secrets": {"barberpro-platform": facts} if given else {},
            "__platform_live_namespaces": ["kube-system", *(["tenant-x"] if tenants else [])],
        },
    }  # fmt: skip
    (tmp_path / "play.json").write_text(json.dumps([play]))
    extra = {"platform_zone": "new.example", "platform_database_name": "other", "platform_confirm": confirm}
    command = [str(ROOT / core / "bin" / "ansible-playbook"), "-i", "localhost,", "-e", json.dumps(extra), str(tmp_path / "play.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **CORES[core]}, capture_output=True, text=True, check=False, timeout=120)
    words = " ".join(done.stdout.split())
    assert (done.returncode != 0) is bool(said), done.stdout + done.stderr
    for sentence in (ZONE, DATABASE):
        assert (sentence in words) is (sentence in said), done.stdout
