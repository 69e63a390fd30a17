"""Tenants that reach the stage dns_ssl side by side issue the zone's one certificate one after the other; what issues it is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import ROOT
from tests.support.cores import CORES

DUE = [{"ansible.builtin.set_fact": {
    "dns_tls_certificate_due": "{{ '' if (playbook_dir ~ '/issued') is exists else 'it does not exist' }}", "dns_tls_certificate_changed": False,
}}]  # fmt: skip
# The first to try fails, whoever it is; so that one who does not wait is seen, each takes a while.
ISSUE = [
    {"ansible.builtin.shell": "echo begin {{ inventory_hostname }} >> log; sleep 1", "args": {"chdir": "{{ playbook_dir }}"}},
    {"ansible.builtin.command": "cp log first", "args": {"chdir": "{{ playbook_dir }}", "creates": "first"}, "register": "first"},
    {"ansible.builtin.fail": {"msg": "refused"}, "when": "first is changed"},
    {"ansible.builtin.shell": "touch issued; echo end {{ inventory_hostname }} >> log", "args": {"chdir": "{{ playbook_dir }}"}},
]


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_one_tenant_issues_for_all(core: str, tmp_path: Path) -> None:
    role = ROOT / "roles/dns_tls"
    tasks = tmp_path / "roles/dns_tls/tasks"
    tasks.mkdir(parents=True)
    for name in ("defaults", "vars"):
        (tasks.parent / name).symlink_to(role / name)
    for file in role.glob("tasks/*.yml"):
        (tasks / file.name).symlink_to(file)
    for name, stand_in in (("certificate_due", DUE), ("issue", ISSUE)):
        (tasks / f"{name}.yml").unlink()
        (tasks / f"{name}.yml").write_text(json.dumps(stand_in))
    said = {"ansible.builtin.shell": "echo {{ inventory_hostname }} {{ dns_tls_certificate_changed }} >> said", "args": {"chdir": str(tmp_path)}, "throttle": 1}
    play = [{
        "hosts": "all", "connection": "local", "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}", "dns_tls_kubeconfig": "none", "dns_tls_provider": "rfc2136",
            "dns_tls_zone": "test", "dns_tls_certificate_names": ["*.barberpro.test"],
        },
        "tasks": [{"block": [
            {"ansible.builtin.include_role": {"name": "dns_tls", "tasks_from": "certificate.yml", "public": True}}, said,
        ], "rescue": [{"ansible.builtin.debug": {"msg": "undone"}}]}],
    }]  # fmt: skip
    (tmp_path / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [str(ROOT / core / "bin" / "ansible-playbook"), "-i", "a,b,c,", str(tmp_path / "play.json")],
        cwd=ROOT, env={**os.environ, **CORES[core]}, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    begun, again, ended = (tmp_path / "log").read_text().splitlines()
    refused, issuer = begun.removeprefix("begin "), again.removeprefix("begin ")
    assert refused != issuer
    assert ended == f"end {issuer}"
    (other,) = {"a", "b", "c"} - {refused, issuer}
    assert sorted((tmp_path / "said").read_text().splitlines()) == sorted([f"{issuer} True", f"{other} False"])
    assert "was not issued by" in " ".join(done.stdout.split()), done.stdout
    assert "can resolve _acme-challenge.barberpro.test and that the credentials of provider rfc2136 may update zone test," in " ".join(done.stdout.split())
