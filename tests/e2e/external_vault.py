"""A Vault that was there before instead of the platform's own: `make external-vault`.

Not part of `make test`, since all tenants of a cluster share the choice. The Vault is a real one beside the node's own programs, prepared as
docs/operations/platform.md asks of its administrator. Afterwards the platform is again what the inventory says.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._vault import Vault, VaultError
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import Setup

from tests.e2e.test_80_keys import book, offboard, slots
from tests.support import cluster, outages, sql
from tests.support.playbooks import deploy_new, play, remove
from tests.support.waiting import equal_to, until

pytestmark = pytest.mark.cluster
TENANT = "vault-elsewhere"
CUSTOMER = {"name": f"Canaria {uuid.uuid4().hex[:12]}", "phone": "+5491155501987"}
PLUGINS = {"kubernetes": "vault-plugin-auth-kubernetes", "postgresql-database-plugin": "vault-plugin-database-postgresql"}
REVIEWER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault-reviewer, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vault-reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: vault-reviewer, namespace: kube-system}]
"""
CONFIGURATION = """
disable_mlock = true
api_addr = "https://{address}:8200"
plugin_directory = "{folder}/plugins"
storage "inmem" {{}}
listener "tcp" {{
  address = "{address}:8200"
  tls_cert_file = "{folder}/tls.crt"
  tls_key_file = "{folder}/tls.key"
}}
"""


def built() -> Path:
    """Return the folder of the newest Vault that `make vault` has built."""
    found = sorted((Path.home() / ".cache" / "barberpro" / "bin").glob("vault-*"), key=lambda path: path.stat().st_mtime)
    assert found, "there is no Vault here: make vault builds it"
    return found[-1]


def certificate(folder: Path, address: str) -> str:
    """Make a certificate for an address, and return it."""
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=vault"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"), "-addext", f"subjectAltName=IP:{address}"]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    return (folder / "tls.crt").read_text()


def opened(server: Vault, process: subprocess.Popen[bytes]) -> None:
    """Initialise and unseal a Vault that starts, and log its administrator in."""
    def initialised() -> dict[str, Any]:
        assert process.poll() is None, "Vault has ended"
        return dict(server.write("sys/init", {"secret_shares": 1, "secret_threshold": 1}))

    made = until(initialised, "Vault to be initialised", despite=VaultError)
    server.write("sys/unseal", {"key": made["keys_base64"][0]})
    server.token = made["root_token"]
    until(lambda: server.send("GET", "sys/health").status, "Vault to serve", good=equal_to(200))


def prepared(server: Vault, plugins: Path) -> None:
    """Make what the document asks of the administrator, and let Vault ask this cluster about tokens."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in plugins.iterdir()}
    cluster.kubectl("apply", "-f", "-", stdin=REVIEWER)
    setup = Setup(server.client, server.facts, digests, dry=False)
    setup.vault = server
    setup.reviewer = {
        "kubernetes_host": server.client.connection.server,
        "kubernetes_ca_cert": cluster.objects("configmap", "kube-root-ca.crt", "-n", "kube-system")[0]["data"]["ca.crt"],
        "token_reviewer_jwt": cluster.kubectl("create", "token", "vault-reviewer", "-n", "kube-system", "--duration=1h").strip(),
    }
    setup.configure()


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """A Vault beside the cluster, ready for a platform."""
    folder, address = tmp_path_factory.mktemp("vault"), cluster.facts()["node_ip"]
    (folder / "plugins").mkdir()
    for name, program in PLUGINS.items():
        shutil.copy2(built() / program, folder / "plugins" / name)
    (folder / "vault.hcl").write_text(CONFIGURATION.format(address=address, folder=folder))
    facts = {"provider": "external", "address": f"https://{address}:8200", "ca": certificate(folder, address), "auth": "barberpro-kubernetes"}
    facts |= {name: f"barberpro-{name}" for name in ("transit", "approle", "database")}
    with (folder / "log").open("w") as log:
        # Pods reach the node's addresses, and nothing beyond its network namespace.
        enter = ["nsenter", f"--net=/run/netns/{outages.LAYOUT.namespace}"]
        process = subprocess.Popen([*enter, str(built() / "vault"), "server", f"-config={folder / 'vault.hcl'}"], stdout=log, stderr=log)
    try:
        server = Vault(Client.from_options({"kubeconfig": cluster.facts()["kubeconfig"]}), facts)
        opened(server, process)
        prepared(server, folder / "plugins")
        yield server
    finally:
        cluster.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=REVIEWER)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def tenant(vault: Vault) -> Iterator[str]:
    """Name of a tenant of a platform that uses that Vault."""
    choice: dict[str, Any] = {"platform_vault": "external", "platform_vault_address": vault.facts["address"], "platform_vault_ca": vault.facts["ca"]}
    # The deployer makes the passwords of the database here; that a Vault gives them is tried with the platform's own.
    choice |= {"platform_vault_cidrs": [f"{cluster.facts()['node_ip']}/32"], "platform_vault_database_mount": ""}
    try:
        installed = play("deploy_platform.yml", extra=choice)
        assert installed.code == 0, installed.output
        run = deploy_new(TENANT)
        assert run.code == 0, run.output
        yield TENANT
    finally:
        remove(TENANT)
        # A login of another Vault is of no use to the platform's own.
        cluster.kubectl("delete", "secret", "vault-deployer", "-n", "barberpro-system", "--ignore-not-found")
        back = play("deploy_platform.yml")
        assert back.code == 0, back.output


def test_its_customers_are_encrypted_with_a_key_of_that_vault(vault: Vault, tenant: str) -> None:
    assert vault.read(f"{vault.facts['transit']}/keys/tenant-{tenant}") is not None
    answer = book(tenant, slots(tenant, 1)[0], CUSTOMER)
    assert answer.status == 201, answer.body
    (stored,) = sql.rows(f"SELECT to_jsonb(b)::text FROM {sql.schema_of(tenant)}.bookings b WHERE id = '{answer.json()['id']}'")
    assert CUSTOMER["name"] not in stored[0]
    assert CUSTOMER["phone"] not in stored[0]


def test_a_second_deploy_has_nothing_to_do(tenant: str) -> None:
    run = deploy_new(tenant)
    assert (run.code, run.report["result"]) == (0, "unchanged"), run.output


def test_its_key_is_rotated(tenant: str) -> None:
    run = play("rotate_keys.yml", extra={"tenant_name": tenant})
    assert run.code == 0, run.output
    assert "version 2 of its key is in force" in run.words()


def test_it_leaves_and_its_key_is_destroyed(vault: Vault, tenant: str, tmp_path: Path) -> None:
    run = offboard(tenant, folder=tmp_path)
    assert run.code == 0, run.output
    assert vault.read(f"{vault.facts['transit']}/keys/tenant-{tenant}") is None
    assert not cluster.exists("namespace", f"tenant-{tenant}")
