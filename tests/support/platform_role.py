"""What the expressions and templates of the role `platform` come to, by one run of Ansible without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cluster import ROOT
from tests.support.cores import CORES

KEYS = ("envoy", "envoy_gateway", "postgresql", "pgbouncer", "vault", "prometheus", "alertmanager", "prometheus_operator", "prometheus_config_reloader")
CERTIFICATES = {name: dict.fromkeys(("ca.crt", "tls.crt", "hash"), "") for name in ("postgresql-tls", "pooler-tls", "vault-tls")}
# What an operator must say, and what discover.yml would find on an empty cluster.
GIVEN = {
    "images": {key: f"registry.barberpro.example/{key}:1" for key in KEYS}, "platform_kubeconfig": "none", "platform_zone": "barberpro.example",
    "platform_vault": "managed", "platform_pooler": "pgbouncer", "platform_gateway_chart_ref": "none", "__platform_secrets": CERTIFICATES,
    "__platform_pooler_password": "p", "__platform_vault_password": "v",
}  # fmt: skip


def objects(*templates: str) -> str:
    """Return the expression of the objects that templates render."""
    names = ", ".join(f"'{name}.yml.j2'" for name in templates)
    return "{{ query('ansible.builtin.template', " + names + ") | map('from_yaml_all') | map('list') | flatten(1) }}"


def evaluated(folder: Path, asked: dict[str, str], cases: dict[str, dict[str, Any]], core: str = ".venv", *arguments: str) -> dict[str, dict[str, Any]]:
    """Return by case what the expressions `asked` come to; a case is the variables that it differs in from GIVEN."""
    # Lookups of the templates find their files beside the playbook, as they do beside the role.
    for name in ("templates", "files"):
        (folder / name).symlink_to(ROOT / "roles/platform" / name)
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_role": {"name": "barberpro.platform.vertical_base", "public": True}},
        {"ansible.builtin.include_role": {"name": "barberpro.platform.platform", "tasks_from": "validate.yml", "public": True}},
    ]
    tasks += [
        {"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(folder / name)}, "vars": {**variables, "found": asked}, "check_mode": False}
        for name, variables in cases.items()
    ]
    given = {**GIVEN, "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": given, "tasks": tasks}]))
    command = [str(ROOT / core / "bin" / "ansible-playbook"), "-i", "localhost,", *arguments, str(folder / "play.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **CORES[core]}, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / name).read_text()) for name in cases}
