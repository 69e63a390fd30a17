"""When the dns_tls role issues a certificate, and what it says of the reason; certificates are made here, the role's own expression judges."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import ansible_collections
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import loopback

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["*.barberpro.test"]
OURS = {"app.kubernetes.io/managed-by": "barberpro.platform"}
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(name: str, days: int, issuer: Pair | None = None, names: list[str] | None = None) -> Pair:
    """Return a certificate with its key; without an issuer it signs itself and is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer[1] if issuer else key
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=days, minutes=5))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(item) for item in names]), critical=False)
    return builder.sign(signer, hashes.SHA256()), key


def pem(*pairs: Pair) -> str:
    """Return the certificates as PEM, one after the other."""
    return "".join(pair[0].public_bytes(serialization.Encoding.PEM).decode() for pair in pairs)


def secret(chain: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the role would read from the cluster."""
    return [{"metadata": {"labels": labels}, "data": {"tls.crt": base64.b64encode(chain.encode()).decode()}}]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the role says of every case, by one run of Ansible."""
    folder = tmp_path_factory.mktemp("dns_tls")
    root, other = certificate("root", 900), certificate("root", 900)
    middle, foreign = certificate("middle", 900, root), certificate("middle", 900, other)
    (folder / "roots.pem").write_text(pem(root))
    cases = {
        "good": secret(pem(certificate("leaf", 60, middle, NAMES), middle), OURS),
        "missing": [],
        "names": secret(pem(certificate("leaf", 60, middle, ["*.other.test"]), middle), OURS),
        "expiring": secret(pem(certificate("leaf", 12, middle, NAMES), middle), OURS),
        "authority": secret(pem(certificate("leaf", 60, foreign, NAMES), foreign), OURS),
        "given": secret(pem(certificate("leaf", 2, foreign, ["own.example"])), {}),
    }
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars_files": [str(ROOT / "roles/dns_tls/vars/main.yml")],
        "vars": {
            **yaml.safe_load((ROOT / "roles/dns_tls/defaults/main.yml").read_text()),
            "dns_tls_certificate_names": NAMES, "dns_tls_acme_root_ca_file": str(folder / "roots.pem"), "platform_zone": "barberpro.test", "cases": cases,
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        },
        "tasks": [{
            "ansible.builtin.copy": {"content": "reason: {{ __dns_tls_due }}", "dest": str(folder) + "/{{ item.key }}"},
            "vars": {"__dns_tls_present": "{{ item.value | first | default({}) }}"},
            "loop": "{{ cases | dict2items }}", "loop_control": {"label": "{{ item.key }}"},
        }],
    }]
    (folder / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (folder / name).read_text().removeprefix("reason:").strip() for name in cases}


def test_records_need_only_the_collection_of_their_provider(tmp_path: Path) -> None:
    """With community.general alone the zone is asked; the answer of a server that is not there is the proof."""
    (home,) = {Path(path) for path in ansible_collections.__path__ if (Path(path) / "community/general").exists()}
    general = tmp_path / "ansible_collections/community/general"
    general.parent.mkdir(parents=True)
    general.symlink_to(home / "community/general")
    change = {"state": "present", "name": "a.barberpro.test", "type": "A", "values": ["10.0.0.7"]}
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": {
            **yaml.safe_load((ROOT / "roles/dns_tls/defaults/main.yml").read_text()), "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "dns_tls_provider": "rfc2136", "dns_tls_zone": "barberpro.test", "dns_tls_rfc2136_server": "127.0.0.1",
            "dns_tls_rfc2136_port": loopback.free_port(), "__dns_tls_change": change,
        },
        "tasks": [{"ansible.builtin.include_tasks": str(ROOT / "roles/dns_tls/tasks/change.yml")}],
    }]
    (tmp_path / "play.json").write_text(json.dumps(play))
    (tmp_path / "empty.cfg").touch()
    environment = {
        **os.environ, "ANSIBLE_CONFIG": str(tmp_path / "empty.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
    }
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", tmp_path / "play.json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )
    assert "Connection refused" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("good", ""),
        ("missing", "it does not exist"),
        ("names", "it is for other names (DNS:*.other.test)"),
        ("expiring", "it expires in 12 days"),
        ("authority", "its chain does not end at the authority now in force"),
        ("given", ""),
    ],
)
def test_reason_for_issuing(case: str, sentence: str, verdicts: dict[str, str]) -> None:
    assert verdicts[case] == sentence
