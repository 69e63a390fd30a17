"""A host's record in a zone that says something else of the name already; a name server on loopback, the role's own expressions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import loopback

from .test_pipeline_backup import ROOT

HOST = "palermo.barberpro.test"
ADDRESS, NAME = "10.0.0.7", "gateway.barberpro.test"
BESIDE = f"The zone has {HOST} A {ADDRESS}, and a record of type CNAME cannot stand beside it"


def run(folder: Path, port: int, wanted: str, tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run tasks of the role for the record of a host."""
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars_files": [str(ROOT / "roles/dns_tls/vars/main.yml")],
        "vars": {
            **yaml.safe_load((ROOT / "roles/dns_tls/defaults/main.yml").read_text()), "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "dns_tls_provider": "rfc2136", "dns_tls_zone": "barberpro.test",
            "dns_tls_rfc2136_server": "127.0.0.1", "dns_tls_rfc2136_port": port, "dns_tls_record_host": HOST, "dns_tls_record_values": [wanted],
        },
        "tasks": tasks,
    }]  # fmt: skip
    (folder / "play.json").write_text(json.dumps(play))
    command = [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("zone", "wanted", "refused"),
    [
        ({HOST: ("A", ADDRESS)}, NAME, True),
        ({HOST: ("A", ADDRESS), "no-tenant-has-this-name.barberpro.test": ("A", ADDRESS)}, NAME, False),  # a wildcard
        ({HOST: ("A", "10.0.0.8")}, ADDRESS, False),
        ({}, NAME, False),
    ],
)
def test_a_record_of_another_kind_is_named(tmp_path: Path, zone: dict[str, tuple[str, str]], wanted: str, refused: bool) -> None:
    with loopback.name_server(zone) as port:
        done = run(tmp_path, port, wanted, [{"ansible.builtin.include_tasks": str(ROOT / "roles/dns_tls/tasks/record_due.yml")}])
    assert (done.returncode != 0) is refused, done.stdout + done.stderr
    assert (BESIDE in " ".join(done.stdout.split())) is refused


@pytest.mark.parametrize(
    ("tasks", "previous", "instead"),
    [("record_change.yml", ["10.0.0.8", ADDRESS], ["10.0.0.8"]), ("record_absent.yml", ["10.0.0.8"], [ADDRESS]), ("record_absent.yml", [], [])],
)
def test_what_a_change_takes_out_of_the_zone(tmp_path: Path, tasks: str, previous: list[str], instead: list[str]) -> None:
    """Cloudflare keeps the addresses of before beside a new one unless it is told."""
    (first, *_rest) = yaml.safe_load((ROOT / "roles/dns_tls/tasks" / tasks).read_text())
    record = {"host": HOST, "type": "A", "values": [ADDRESS], "previous": previous}
    shown = {"ansible.builtin.copy": {"content": "{{ __dns_tls_change.instead_of | to_json }}", "dest": str(tmp_path / "found")}, "vars": first["vars"]}
    done = run(tmp_path, 53, ADDRESS, [{"ansible.builtin.set_fact": {"dns_tls_record": record}}, shown])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "found").read_text()) == instead
