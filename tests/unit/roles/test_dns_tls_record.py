"""A host's record in a zone that says something else of the name already; a name server on loopback, the role's own expressions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import loopback
from tests.support.cluster import ROOT

HOST = "palermo.barberpro.test"
ADDRESS, NAME = "10.0.0.7", "gateway.barberpro.test"


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
    ("zone", "wanted", "previous", "other"),
    [
        ({HOST: ("A", ADDRESS)}, NAME, [], [{"type": "A", "values": [ADDRESS]}]),
        ({HOST: ("CNAME", f"{NAME}.")}, ADDRESS, [], [{"type": "CNAME", "values": [NAME]}]),
        ({HOST: ("A", ADDRESS), "no-tenant-has-this-name.barberpro.test": ("A", ADDRESS)}, NAME, [], []),  # a wildcard
        ({HOST: ("A", ADDRESS), NAME: ("A", ADDRESS)}, NAME, [], [{"type": "A", "values": [ADDRESS]}]),
        ({HOST: ("A", "10.0.0.8")}, ADDRESS, ["10.0.0.8"], []),
        ({HOST: ("CNAME", f"old.{NAME}.")}, NAME, [f"old.{NAME}"], []),
        ({}, NAME, [], []),
    ],
)
def test_what_the_zone_says_of_the_name(tmp_path: Path, zone: dict[str, tuple[str, str]], wanted: str, previous: list[str], other: list[Any]) -> None:
    kept = {"ansible.builtin.copy": {"content": "{{ [dns_tls_record, dns_tls_record_changed] | to_json }}", "dest": str(tmp_path / "found")}}
    with loopback.name_server(zone) as port:
        done = run(tmp_path, port, wanted, [{"ansible.builtin.include_tasks": str(ROOT / "roles/dns_tls/tasks/record_due.yml")}, kept])
    assert done.returncode == 0, done.stdout + done.stderr
    record, changed = json.loads((tmp_path / "found").read_text())
    assert (record["previous"], record["other"], changed) == (previous, other, True)


def test_a_record_of_another_kind_makes_room_and_comes_back(tmp_path: Path) -> None:
    """What becomes of the zone by a deploy and by its undo, in which order; what changes it is a stand-in."""
    for name in ("record_change", "record_absent"):
        (tmp_path / f"{name}.yml").symlink_to(ROOT / f"roles/dns_tls/tasks/{name}.yml")
    line = "{{ __dns_tls_change.state }} {{ __dns_tls_change.type }} {{ __dns_tls_change['values'] | join(' ') }}"
    (tmp_path / "change.yml").write_text(json.dumps([{"ansible.builtin.shell": f"echo {line} >> {tmp_path}/changes"}]))
    record = {"host": HOST, "type": "CNAME", "values": [NAME], "previous": [], "other": [{"type": "A", "values": [ADDRESS]}]}
    steps = [{"ansible.builtin.include_tasks": str(tmp_path / f"{name}.yml")} for name in ("record_change", "record_absent")]
    done = run(tmp_path, 53, NAME, [{"ansible.builtin.set_fact": {"dns_tls_record": record}}, *steps])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "changes").read_text().splitlines() == [f"absent A {ADDRESS}", f"present CNAME {NAME}", f"absent CNAME {NAME}", f"present A {ADDRESS}"]


@pytest.mark.parametrize(
    ("tasks", "previous", "instead"),
    [("record_change.yml", ["10.0.0.8", ADDRESS], ["10.0.0.8"]), ("record_absent.yml", ["10.0.0.8"], [ADDRESS]), ("record_absent.yml", [], [])],
)
def test_what_a_change_takes_out_of_the_zone(tmp_path: Path, tasks: str, previous: list[str], instead: list[str]) -> None:
    """Cloudflare keeps the addresses of before beside a new one unless it is told."""
    entries = yaml.safe_load((ROOT / "roles/dns_tls/tasks" / tasks).read_text())
    (change,) = [entry for entry in entries if "instead_of" in entry.get("vars", {}).get("__dns_tls_change", {})]
    record = {"host": HOST, "type": "A", "values": [ADDRESS], "previous": previous}
    shown = {"ansible.builtin.copy": {"content": "{{ __dns_tls_change.instead_of | to_json }}", "dest": str(tmp_path / "found")}, "vars": change["vars"]}
    done = run(tmp_path, 53, ADDRESS, [{"ansible.builtin.set_fact": {"dns_tls_record": record}}, shown])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "found").read_text()) == instead
