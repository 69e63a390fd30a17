"""The modules that talk to Vault: opened once, configured once, a key for each tenant and its end; what they write and what they say."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import deployer_policy, tenant_policy
from ansible_collections.barberpro.platform.plugins.modules import offboarding, tenant_encryption, tenant_key, tenant_login, vault_setup

from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.fake_vault import FakeVault
from tests.support.loopback import Reply, Request
from tests.support.modules import call

MOUNTS = {"transit": "tr", "auth": "k8s", "approle": "ar", "database": "db"}
PLUGINS = {"kubernetes": "ab" * 32, "postgresql-database-plugin": "cd" * 32}
DATABASE = {
    "host": "postgresql.barberpro-data.svc", "port": 5432, "name": "barberpro", "user": "barberpro_vault", "password": "canary-of-vault",
    "sslmode": "verify-full", "ca": "certificate",
}
FACTS = {**MOUNTS, "provider": "managed", "address": "https://vault.barberpro-vault.svc:8200", "ca": "", "audience": "vault"}
SYSTEM = "/api/v1/namespaces/barberpro-system"


def encoded(values: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


@pytest.fixture
def vault(api: StandIn) -> FakeVault:
    """A Vault behind port-forwards, and an API server that keeps the objects it is given."""
    fake = FakeVault()
    api.pods = fake

    def stored(request: Request) -> dict[str, Any]:
        return {**request.body, "metadata": {**request.body["metadata"], "resourceVersion": str(len(api.log))}}

    def keep(request: Request) -> Reply:
        api.answers[f"GET {request.path.partition('?')[0].rstrip('/')}/{request.body['metadata']['name']}"] = stored(request)
        return Reply(201, stored(request))

    def replace(request: Request) -> Reply:
        api.answers[f"GET {request.path.partition('?')[0]}"] = stored(request)
        return Reply(200, stored(request))

    for path in ("/api/v1/namespaces/barberpro-vault/secrets", f"{SYSTEM}/secrets", f"{SYSTEM}/configmaps"):
        api.answers[f"POST {path}"] = keep
    for tenant in ("palermo", "recoleta"):
        api.answers[f"PUT {SYSTEM}/configmaps/offboarding-{tenant}"] = replace
    return fake


@pytest.fixture
def known(api: StandIn, vault: FakeVault) -> FakeVault:
    """The same, with the credentials of the deployer."""
    api.answers[f"GET {SYSTEM}/secrets/vault-deployer"] = secret("barberpro-system", "vault-deployer", role_id="role-7", secret_id="secret-7")
    return vault


def setup(api: StandIn, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    return call(vault_setup, {"kubeconfig": api.kubeconfig, "vault": MOUNTS, "wait_timeout": 2, **options}, check=check)


def key_of(api: StandIn, tenant: str = "palermo", check: bool = False, **options: Any) -> dict[str, Any]:
    return call(tenant_key, {"kubeconfig": api.kubeconfig, "name": tenant, "vault": FACTS, **options}, check=check)


def test_a_new_vault_is_opened_and_configured_once(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    first = setup(api, plugins=PLUGINS, database=DATABASE)
    assert first["changes"][:2] == ["initialised", "unsealed"]
    assert {"sys/audit/log", "sys/mounts/tr", "sys/auth/k8s", "sys/auth/ar", "sys/plugins/catalog/auth/kubernetes"} <= set(vault.writes)
    assert {"sys/mounts/db", "sys/plugins/catalog/database/postgresql-database-plugin", "db/config/postgresql"} <= set(vault.writes)
    assert vault.held["db/config/postgresql"]["connection_details"] == {
        "connection_url": "postgresql://{{username}}:{{password}}@postgresql.barberpro-data.svc:5432/barberpro?sslmode=verify-full",
        "username": "barberpro_vault", "password_authentication": "scram-sha-256", "tls_ca": "certificate",
    }
    kept = api.answers["GET /api/v1/namespaces/barberpro-vault/secrets/vault-unseal"]["data"]
    assert kept == encoded({"key": "dW5zZWFs"})
    assert api.answers[f"GET {SYSTEM}/secrets/vault-deployer"]["data"] == encoded({"role_id": "role-7", "secret_id": "secret-7"})
    assert api.log[-1].path == "/v1/auth/token/revoke-self"
    vault.writes.clear()
    assert setup(api, plugins=PLUGINS, database=DATABASE) == {"changed": False, "changes": [], "version": "1.21.0"}
    assert vault.writes == []


def test_a_sealed_vault_is_unsealed(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    setup(api)
    vault.sealed = True
    assert setup(api, check=True)["changes"] == ["unsealed"]
    assert vault.sealed
    assert setup(api)["changes"] == ["unsealed"]


def test_a_dry_run_writes_nothing(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    assert setup(api, check=True) == {"changed": True, "changes": ["initialised"], "version": "1.21.0"}
    assert not vault.initialized
    setup(api)
    vault.writes.clear()
    del vault.held["sys/policies/acl/barberpro-deployer"]
    assert setup(api, check=True)["changes"] == ["sys/policies/acl/barberpro-deployer"]
    assert vault.writes == []


def test_an_empty_vault_whose_key_is_still_there_is_not_begun_anew(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    api.answers["GET /api/v1/namespaces/barberpro-vault/secrets/vault-unseal"] = secret("barberpro-vault", "vault-unseal", key="older")
    assert "is empty, but Secret barberpro-vault/vault-unseal holds the key of an earlier one: its volume was lost or replaced" in setup(api)["msg"]


def test_a_vault_of_somebody_else_is_left_alone(api: StandIn, vault: FakeVault) -> None:
    assert "was initialised by somebody else: Secret barberpro-vault/vault-unseal holds no key" in setup(api)["msg"]
    assert vault.writes == []


def test_a_builtin_login_needs_no_plugin(api: StandIn, vault: FakeVault) -> None:
    vault.initialized, vault.builtin = False, True
    setup(api, plugins=PLUGINS)
    assert "sys/plugins/catalog/auth/kubernetes" not in vault.writes


def test_no_policy_lets_one_tenant_at_the_key_of_another() -> None:
    own = tenant_policy("tr", "acc_1")
    name = "{{identity.entity.aliases.acc_1.metadata.service_account_namespace}}"
    paths = [line.split('"')[1] for line in own.splitlines() if line.startswith("path")]
    assert paths == [f"tr/{use}/{name}" for use in ("keys", "datakey/plaintext", "decrypt", "rewrap")]
    deployer = deployer_policy("tr", "k8s", "db")
    # It manages keys and uses none; the roles that it makes give one policy only.
    assert not [word for word in ("decrypt", "datakey", "export", "encrypt", "backup") if word in deployer]
    assert '"token_policies" = ["barberpro-tenant"]' in deployer


def test_a_tenant_gets_its_key_once_for_its_own_service_accounts(api: StandIn, known: FakeVault) -> None:
    planned = key_of(api, service_accounts=["booking"], check=True)
    assert (planned["changed"], known.writes) == (True, [])
    made = key_of(api, service_accounts=["booking"])
    assert (made["changed"], made["key"], made["before"]["exists"], made["after"]["version"]) == (True, "tenant-palermo", False, 1)
    role = known.held["auth/k8s/role/tenant-palermo"]
    assert (role["bound_service_account_namespaces"], role["bound_service_account_names"]) == (["tenant-palermo"], ["booking"])
    assert (role["audience"], role["token_policies"]) == ("vault", ["barberpro-tenant"])
    known.writes.clear()
    assert key_of(api, service_accounts=["booking"])["changed"] is False
    assert known.writes == []
    assert key_of(api, service_accounts=["booking", "files"])["changed"] is True
    assert known.writes == ["auth/k8s/role/tenant-palermo"]


def test_a_key_is_rotated_and_its_old_versions_retired(api: StandIn, known: FakeVault) -> None:
    key_of(api)
    assert key_of(api, state="rotated", check=True)["after"]["version"] == 1
    assert key_of(api, state="rotated")["after"]["version"] == 2
    beaten = key_of(api, state="retired", version=1)["msg"]
    assert beaten.startswith("tenant palermo: all is wrapped by version 1 of its key, and version 2 has been made since by another run; no version was retired")
    assert known.keys["tr/keys/tenant-palermo"]["min_decryption_version"] == 1
    assert key_of(api, state="retired", version=2)["after"] == {"exists": True, "version": 2, "oldest_version": 2, "created": "1700000001"}
    assert key_of(api, state="retired")["changed"] is False
    assert key_of(api, "recoleta", state="rotated")["msg"].startswith("tenant recoleta has no key tenant-recoleta in Vault barberpro-vault/vault-0")


def test_a_key_is_destroyed_by_name_and_no_other(api: StandIn, known: FakeVault) -> None:
    key_of(api)
    key_of(api, "palermo-2")
    refused = key_of(api, state="absent", confirm="palermo-2")
    assert "without its key nobody can read what was encrypted with it again" in refused["msg"]
    assert key_of(api, state="absent", confirm="palermo", check=True)["changed"] is True
    assert "tr/keys/tenant-palermo" in known.keys
    assert key_of(api, state="absent", confirm="palermo")["changed"] is True
    assert list(known.keys) == ["tr/keys/tenant-palermo-2"]
    assert list(known.held) == ["auth/k8s/role/tenant-palermo-2"]
    assert key_of(api, state="absent", confirm="palermo")["changed"] is False


def test_a_run_that_has_lost_its_lease_destroys_no_key(api: StandIn, known: FakeVault) -> None:
    key_of(api)
    held = {"holderIdentity": "ana", "renewTime": "2999-01-01T00:00:00.000000Z", "leaseDurationSeconds": 120, "leaseTransitions": 2}
    path = "/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases/tenant-palermo"
    api.answers[f"GET {path}"] = {"metadata": {"name": "tenant-palermo"}, "spec": held}
    run = {"id": "eva", "operation": "offboard", "content": "offboard"}
    assert "tenant palermo is being changed by unknown@unknown" in key_of(api, state="absent", confirm="palermo", run=run)["msg"]
    assert list(known.keys) == ["tr/keys/tenant-palermo"]


def login_of(api: StandIn, check: bool = False, **options: Any) -> dict[str, Any]:
    return call(tenant_login, {"kubeconfig": api.kubeconfig, "role": "t_1_app_b", "vault": FACTS, **options}, check=check)


def test_a_role_gets_a_password_of_vault_and_another_each_time(api: StandIn, known: FakeVault) -> None:
    assert login_of(api, check=True) == {"changed": True, "role": "t_1_app_b", "password": ""}
    assert known.writes == []
    first = login_of(api)
    assert known.held["db/static-roles/t_1_app_b"] == {"db_name": "postgresql", "username": "t_1_app_b", "rotation_period": 315360000, "password": "made-1"}
    second = login_of(api)
    assert (first["password"], second["password"]) == ("made-1", "made-2")
    assert known.writes == ["db/static-roles/t_1_app_b", "db/rotate-role/t_1_app_b"]
    assert login_of(api, state="absent", check=True)["changed"] is True
    assert login_of(api, state="absent")["changed"] is True
    assert login_of(api, state="absent")["changed"] is False
    assert known.held == {}


def test_what_is_wrong_with_vault_is_said(api: StandIn, vault: FakeVault) -> None:
    assert "Secret barberpro-system/vault-deployer with role_id and secret_id for Vault barberpro-vault/vault-0 does not exist" in key_of(api)["msg"]
    api.answers[f"GET {SYSTEM}/secrets/vault-deployer"] = secret("barberpro-system", "vault-deployer", role_id="role-7", secret_id="old")
    assert "POST auth/ar/login: HTTP 400 invalid role or secret ID" in key_of(api)["msg"]
    vault.sealed = True
    assert "HTTP 503 Vault is sealed; it is sealed or still starting; run deploy_platform.yml, or unseal it" in key_of(api)["msg"]
    api.broken = "connection refused"
    assert "Vault barberpro-vault/vault-0 does not answer: " in key_of(api)["msg"]


def test_a_service_renews_or_says_why_not(api: StandIn) -> None:
    where = "/api/v1/namespaces/tenant-palermo"
    api.items(f"{where}/pods", ready_pod("booking-1"))
    api.answers[f"GET {where}/secrets/booking-admin"] = secret("tenant-palermo", "booking-admin", token="t0")
    status = {"encrypting": True, "plain": 0, "sealed": 3, "data_keys": 2, "versions": [2]}
    options = {"kubeconfig": api.kubeconfig, "namespace": "tenant-palermo", "selector": "app.kubernetes.io/component=booking"}
    api.pods = lambda request: Reply(200, {**status, **({"rewrapped": 2, "newly_sealed": 0, "version": 2} if request.method == "PUT" else {})})
    assert call(tenant_encryption, {**options, "state": "inspected"}) == {"changed": False, "pod": "tenant-palermo/booking-1", "status": status}
    assert call(tenant_encryption, options, check=True)["changed"] is False
    assert call(tenant_encryption, options)["changed"] is True
    api.pods = lambda _request: Reply(404, {"detail": "Not Found"})
    assert "its image is older than encryption; deploy a newer one" in call(tenant_encryption, options)["msg"]
    api.pods = lambda _request: Reply(200, {**status, "encrypting": False})
    assert "does not encrypt: it was deployed without Vault; run deploy_vertical.yml" in call(tenant_encryption, options)["msg"]


def nothing_left(api: StandIn) -> None:
    """Nothing of any tenant is in the system namespace."""
    for path in ("configmaps", "secrets"):
        api.items(f"{SYSTEM}/{path}")
    api.answers["GET /apis/coordination.k8s.io/v1"] = {"resources": [{"name": "leases", "kind": "Lease", "namespaced": True, "verbs": ["list"]}]}
    api.items("/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases")


def test_the_record_is_signed_and_openssl_agrees(api: StandIn, known: FakeVault, tmp_path: Path) -> None:
    nothing_left(api)
    known.write("POST", "tr/keys/barberpro-records", {"type": "ed25519"})

    def record(**options: Any) -> dict[str, Any]:
        return call(offboarding, {"kubeconfig": api.kubeconfig, "name": "palermo", **options})

    record(state="noted", step="export", by="ana", detail={"files": [{"file": "bookings.jsonl", "sha256": "00"}]})
    record(state="noted", step="key", detail={"key": "tenant-palermo"})
    signed = record(state="signed", vault=FACTS, path=str(tmp_path))
    assert (signed["signed"], signed["record"]["by"], [step["step"] for step in signed["record"]["steps"]]) == (True, "ana", ["export", "key"])
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "record.pem", "-rawin", "-in", "record.json", "-sigfile", "record.sig"]
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=True).stdout == b"Signature Verified Successfully\n"
    (tmp_path / "record.json").write_text((tmp_path / "record.json").read_text().replace("tenant-palermo", "tenant-other"))
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    # The name that comes back to life gets a record of its own.
    assert [step["step"] for step in record(state="noted", step="export")["record"]["steps"]] == ["export"]


def test_a_record_without_vault_says_that_it_is_not_signed(api: StandIn, vault: FakeVault, tmp_path: Path) -> None:
    nothing_left(api)
    options = {"kubeconfig": api.kubeconfig, "name": "recoleta"}
    call(offboarding, {**options, "state": "noted", "step": "export"})
    assert call(offboarding, {**options, "state": "signed", "path": str(tmp_path)})["record"].get("signed_by") is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("record")) == ["record.json"]
    assert json.loads((tmp_path / "record.json").read_text())["tenant"] == "recoleta"
