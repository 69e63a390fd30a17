"""How an offboarding begins: it takes over what a killed run has left, removes what only its journal names, and keeps deploys off from then on."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kept_objects import Kept, kept_objects

ROOT = Path(__file__).resolve().parents[3]
TASKS = ROOT / "roles/pipeline/tasks/offboard"
JOURNAL = "/api/v1/namespaces/barberpro-system/secrets/journal-shop"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases/tenant-shop"
RECORD = "/api/v1/namespaces/barberpro-system/configmaps/offboarding-shop"
PARTS = ["key tenant-shop", "schema t_1 with its roles"]
LEFT = {"id": "killed", "operation": "deploy", "user": "ana", "host": "runner-7", "began": "2026-11-25 19:20:01 UTC"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with kept_objects(tmp_path) as found:
        yield found


def journal(kept: Kept) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(kept.objects[JOURNAL]["data"]["journal"]))
    return found


def begin(kept: Kept, folder: Path, *steps: dict[str, Any], closed: str | None = None, noted: dict[str, Any] | None = None) -> str:
    """Look at a tenant with this journal and begin to offboard it, by the tasks of the role; return what was said."""
    document = {"run": LEFT, "previous": 6, "steps": list(steps), "closed": closed, "outcome": None}
    metadata = {"name": "journal-shop", "namespace": "barberpro-system", "labels": {"barberpro.platform/tenant": "shop"}}
    kept.put(JOURNAL, {"metadata": metadata, "data": {"journal": base64.b64encode(json.dumps(document).encode()).decode()}})
    tasks = yaml.safe_load((TASKS / "inspect.yml").read_text())
    names = ("Begin the run", "See whether another run is at work, or has left something behind", "Remember what an earlier run has not ended")
    look = [task for name in names for task in tasks if task["name"] == name]
    assert len(look) == 3
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")],
        "module_defaults": {"group/barberpro.platform.all": {"kubeconfig": kept.kubeconfig}},
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}", "pipeline_tenant_name": "shop", "barberpro_kubeconfig": kept.kubeconfig,
            "__pipeline_platform": {"data_namespace": "barberpro-data"}, "__pipeline_noted": noted or {}, "__pipeline_parts": PARTS,
            "__pipeline_key_found": {"key": "tenant-shop", "before": {"exists": True, "version": 3}},
        },
        "tasks": [*look, {"ansible.builtin.include_role": {"name": "barberpro.platform.pipeline", "tasks_from": "offboard/begin.yml"}}],
    }  # fmt: skip
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", str(folder / "play.yml")]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return " ".join((done.stdout + done.stderr).split())


def test_what_only_the_journal_names_is_removed_before_anything_else(kept: Kept, tmp_path: Path) -> None:
    """The storage knows no discovery, so that the removal fails: it is tried, and without it nothing goes on."""
    steps = [
        {"step": "rehearsal", "intended": "t", "done": "t", "undo": {"schema": "x_0123456789abcdef0123"}},
        {"step": "backup", "intended": "t", "done": None, "undo": {"backup": "before-7"}},
    ]
    said = begin(kept, tmp_path, *steps)
    assert "Tenant shop: what the run of ana@runner-7 (deploy since 2026-11-25 19:20:01 UTC) has left could not be removed (backup: " in said, said
    assert "The tenant itself is as it was; run offboard_tenant.yml again, or let customers in again with deploy_vertical.yml." in said
    # It is still known what is to be removed, and that the tenant is leaving.
    assert (journal(kept)["run"]["operation"], journal(kept)["steps"]) == ("offboard", steps)


@pytest.mark.parametrize(("done", "closed"), [("t", None), (None, "t")])
def test_what_was_cleared_away_is_left_alone(kept: Kept, tmp_path: Path, done: str | None, closed: str | None) -> None:
    said = begin(kept, tmp_path, {"step": "backup", "intended": "t", "done": done, "undo": {}}, closed=closed)
    assert "failed=0" in said, said
    assert "unreachable=0" in said
    assert (journal(kept)["run"]["operation"], journal(kept)["closed"]) == ("offboard", None)
    assert kept.objects[LEASE]["spec"]["holderIdentity"] == journal(kept)["run"]["id"]


def test_what_was_there_is_noted_before_anything_of_it_goes(kept: Kept, tmp_path: Path) -> None:
    said = begin(kept, tmp_path)
    assert "failed=0" in said, said
    (step,) = json.loads(kept.objects[RECORD]["data"]["record.json"])["steps"]
    assert {key: step[key] for key in ("step", "parts", "key", "key_before")} == {
        "step": "found", "parts": PARTS, "key": "tenant-shop", "key_before": {"exists": True, "version": 3},
    }


def test_whoever_goes_on_with_a_killed_run_notes_nothing_less(kept: Kept, tmp_path: Path) -> None:
    found = {"step": "found", "at": "t", "parts": ["namespace tenant-shop with everything in it", *PARTS], "key": "tenant-shop", "key_before": {"exists": True}}
    said = begin(kept, tmp_path, noted={"found": found})
    assert "failed=0" in said, said
    assert RECORD not in kept.objects
