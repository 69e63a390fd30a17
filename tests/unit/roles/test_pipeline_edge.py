"""What the stage dns_ssl asks of the zone and of the gateway, for each way in which a gateway can be addressed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
STAGE = yaml.safe_load((ROOT / "roles/pipeline/tasks/stages/dns_ssl.yml").read_text())
GATEWAYS = {"v4": "203.0.113.7", "v6": "2001:db8::7", "name": "gateway.barberpro.example"}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """The checks of the stage's gate by gateway and name, as the roles' own expressions make them, by one run of Ansible."""
    folder = tmp_path_factory.mktemp("edge")
    (record,) = [task["vars"] for task in STAGE if task["name"] == "See what the zone says"]
    (gate,) = [task for task in STAGE if task["name"] == "Gate of dns_ssl"]
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars_files": [str(ROOT / f"roles/{role}/vars/main.yml") for role in ("dns_tls", "pipeline")],
        "vars": {
            "pipeline_host": "palermo.barberpro.example", "pipeline_https_port": 443, "pipeline_http_port": 80, "pipeline_ca_file": "ca.pem",
            "pipeline_gateway_address": "", "dns_tls_zone": "barberpro.example", "dns_tls_provider": "rfc2136",
            "dns_tls_rfc2136_server": "10.0.0.2", "dns_tls_rfc2136_port": 53, "__pipeline_staged": {"revision": "r1"},
            "ansible_python_interpreter": "{{ ansible_playbook_python }}", **record, **gate["vars"],
            # What record_due.yml leaves, without its question to the zone.
            "dns_tls_record": {"type": "{{ __dns_tls_record_type }}"},
            "checks": gate["barberpro.platform.stage_gate"]["checks"], "gateways": GATEWAYS,
        },
        "tasks": [{
            "ansible.builtin.copy": {"content": "{{ checks | to_json }}", "dest": str(folder) + "/{{ item.key }}"},
            "vars": {"__pipeline_platform": {"gateway_address": "{{ item.value }}"}},
            "loop": "{{ gateways | dict2items }}",
        }],
    }]
    (folder / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: {check["check"]: check for check in json.loads((folder / name).read_text())} for name in GATEWAYS}


@pytest.mark.parametrize(("gateway", "kind"), [("v4", "A"), ("v6", "AAAA"), ("name", "CNAME")])
def test_the_record_is_asked_for_by_the_kind_that_was_written(asked: dict[str, dict[str, dict[str, Any]]], gateway: str, kind: str) -> None:
    dns = asked[gateway]["dns"]
    assert (dns["type"], dns["address"], dns["only"]) == (kind, GATEWAYS[gateway], True)


@pytest.mark.parametrize(
    ("gateway", "address"), [("v4", "203.0.113.7:443"), ("v6", "[2001:db8::7]:443"), ("name", "gateway.barberpro.example:443")]
)
def test_the_gateway_is_spoken_to_at_its_address(asked: dict[str, dict[str, dict[str, Any]]], gateway: str, address: str) -> None:
    assert asked[gateway]["http"]["address"] == address
    assert asked[gateway]["redirect"]["address"] == address.replace("443", "80")
    assert asked[gateway]["tls"]["address"] == GATEWAYS[gateway]
