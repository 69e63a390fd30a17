"""What the testing stage tries to be closed while a policy is on its way out, with both ansible-cores."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import ROOT
from tests.support.cores import CORES

OUTSIDE = ["203.0.113.1:443", "198.51.100.1:443"]
QUEUE, BOOKING = "walkin-queue-r2.tenant-x.svc:8081", "booking-r2.tenant-x.svc:8080"
# Which policies a commit removes, and what is tried to be closed of booking and of the queue.
CASES: list[tuple[list[str], list[str], list[str]]] = [
    ([], [QUEUE, *OUTSIDE[1:]], [BOOKING, *OUTSIDE]),
    (["allow-booking-outside-0a1b2c3d"], [QUEUE], [BOOKING, *OUTSIDE]),
    (["allow-walkin-queue-to-booking-out-0a1b2c3d"], [QUEUE, *OUTSIDE[1:]], OUTSIDE),
    # As they were called before.
    (["allow-walkin-queue-outside", "allow-booking-to-walkin-queue-out"], OUTSIDE[1:], [BOOKING]),
    (["default-deny", "allow-gateway-booking-0a1b2c3d"], [QUEUE, *OUTSIDE[1:]], [BOOKING, *OUTSIDE]),
]


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_what_is_still_open_to_the_revision_before_is_not_tried(core: str, tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}", "__pipeline_name": "x", "__pipeline_namespace": "tenant-x", "__pipeline_revision": "r2",
        "__pipeline_platform": {"monitoring_namespace": "watch"}, "__pipeline_poolers_of_others": [], "__pipeline_neighbours": {"tenants": []},
        "__pipeline_workloads": {"booking": {"port": 8080, "calls": []}, "walkin_queue": {"port": 8081, "calls": []}},
        "__pipeline_outside": {"open": {"booking": OUTSIDE[:1], "walkin_queue": []}}, "pipeline_outside_targets": OUTSIDE,
    }  # fmt: skip
    tasks = [
        {
            "ansible.builtin.copy": {"content": "{{ __pipeline_reach_closed | to_json }}", "dest": str(tmp_path / str(number))},
            "vars": {"__pipeline_plan": {"changes": [
                *({"action": "deleted", "object": f"NetworkPolicy tenant-x/{name}"} for name in policies),
                {"action": "created", "object": "NetworkPolicy tenant-x/allow-booking-outside-3d2c1b0a"},
                {"action": "deleted", "object": "Service tenant-x/allow-booking-outside"},
            ]}},
        }
        for number, (policies, _booking, _queue) in enumerate(CASES)
    ]  # fmt: skip
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")], "tasks": [
        {"ansible.builtin.set_fact": facts}, *tasks,
    ]}  # fmt: skip
    (tmp_path / "play.json").write_text(json.dumps([play]))
    command = [str(ROOT / core / "bin" / "ansible-playbook"), "-i", "localhost,", str(tmp_path / "play.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **CORES[core]}, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    always = ["prometheus-operated.watch.svc:9090", "kubernetes.default.svc:443"]
    for number, (policies, booking, queue) in enumerate(CASES):
        found = json.loads((tmp_path / str(number)).read_text())
        tried = {name: sorted(set(targets) - set(always)) for name, targets in found.items()}
        assert tried == {"booking": sorted(booking), "walkin_queue": sorted(queue)}, policies
