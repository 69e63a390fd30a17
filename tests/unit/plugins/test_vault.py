"""The modules that talk to Vault: opened once, configured once, a key for each tenant and its end; what they write and what they say."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _vault_setup
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import deployer_policy, tenant_policy
from ansible_collections.barberpro.platform.plugins.modules import offboarding, tenant_encryption, tenant_key, tenant_login, vault_setup

from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.fake_vault import FakeVault
from tests.support.kept import keep, revision
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
UNSEAL = "/api/v1/namespaces/barberpro-vault/secrets/vault-unseal"


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
    for path in (UNSEAL, *(f"{SYSTEM}/configmaps/offboarding-{tenant}" for tenant in ("palermo", "recoleta"))):
        api.answers[f"PUT {path}"] = replace
    return fake


@pytest.fixture
def known(api: StandIn, vault: FakeVault) -> FakeVault:
    """The same, with the credentials of the deployer."""
    api.answers[f"GET {SYSTEM}/secrets/vault-deployer"] = secret("barberpro-system", "vault-deployer", role_id="role-7", secret_id="secret-7")
    api.items(f"{SYSTEM}/secrets")
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
    kept = api.answers[f"GET {UNSEAL}"]["data"]
    assert kept == encoded({"key": "dW5zZWFs"})
    assert api.answers[f"GET {SYSTEM}/secrets/vault-deployer"]["data"] == encoded({"role_id": "role-7", "secret_id": "secret-7"})
    assert api.log[-1].path == "/v1/auth/token/revoke-self"
    vault.writes.clear()
    assert setup(api, plugins=PLUGINS, database=DATABASE) == {"changed": False, "changes": [], "version": "1.21.0", "abandoned": False}
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
    api.answers[f"GET {UNSEAL}"] = secret("barberpro-vault", "vault-unseal", key="older")
    assert "is empty, but Secret barberpro-vault/vault-unseal holds the key of an earlier one: its volume was lost or replaced" in setup(api)["msg"]


def test_a_vault_of_somebody_else_is_left_alone(api: StandIn, vault: FakeVault) -> None:
    assert "was initialised by somebody else: Secret barberpro-vault/vault-unseal holds no key" in setup(api)["msg"]
    assert vault.writes == []


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at work needs no moment to keep a key."""
    monkeypatch.setattr(_vault_setup, "KEEPING_SECONDS", 0.0)


@pytest.mark.usefixtures("hasty")
def test_a_vault_whose_key_a_killed_run_has_not_kept_is_said_to_be_abandoned(api: StandIn, vault: FakeVault) -> None:
    """Vault tells the key once, in answer to being initialised; what the run was about to do stands in the Secret before."""
    vault.initialized = False
    answers = api.answers[f"PUT {UNSEAL}"]
    api.answers[f"PUT {UNSEAL}"] = Reply(403, {"message": "killed here"})
    assert "killed here" in setup(api)["msg"]
    assert (vault.initialized, set(api.answers[f"GET {UNSEAL}"]["data"])) == (True, {"begun"})
    api.answers[f"PUT {UNSEAL}"] = answers
    vault.writes.clear()
    assert setup(api, check=True)["changes"] == ["initialised"]
    assert setup(api) == {"changed": False, "changes": [], "version": "1.21.0", "abandoned": True}
    # Its storage is put aside: there is nothing now, and a key is kept.
    vault.initialized = vault.sealed = False
    assert setup(api)["changes"][:2] == ["initialised", "unsealed"]
    assert api.answers[f"GET {UNSEAL}"]["data"] == encoded({"key": "dW5zZWFs"})


def test_an_open_vault_is_nobodys_to_put_aside(api: StandIn, vault: FakeVault) -> None:
    """A run was killed before it had initialised it; then somebody did so by hand, and has the key."""
    api.answers[f"GET {UNSEAL}"] = secret("barberpro-vault", "vault-unseal", begun="2026-11-01T00:00:00+00:00")
    assert "was initialised by somebody else: Secret barberpro-vault/vault-unseal holds no key" in setup(api)["msg"]
    assert vault.writes == []


@pytest.mark.usefixtures("hasty")
def test_a_closed_vault_that_was_ever_configured_is_nobodys_to_put_aside(api: StandIn, known: FakeVault) -> None:
    """The same, and its pod was started anew since."""
    api.answers[f"GET {UNSEAL}"] = secret("barberpro-vault", "vault-unseal", begun="2026-11-01T00:00:00+00:00")
    known.sealed = True
    assert "was initialised by somebody else: Secret barberpro-vault/vault-unseal holds no key" in setup(api)["msg"]
    assert known.writes == []


def test_a_run_that_is_at_work_is_given_a_moment_to_keep_the_key(api: StandIn, vault: FakeVault) -> None:
    vault.sealed, asked = True, []

    def kept_meanwhile(_request: Request) -> Reply:
        asked.append(1)
        return Reply(200, secret("barberpro-vault", "vault-unseal", **({"begun": "now"} if len(asked) < 3 else {"key": "dW5zZWFs"})))

    api.answers[f"GET {UNSEAL}"] = kept_meanwhile
    assert setup(api)["changes"][0] == "unsealed"


def test_of_two_runs_at_once_the_second_does_not_write_over_the_key_of_the_first(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    found = secret("barberpro-vault", "vault-unseal", begun="before")
    api.answers[f"GET {UNSEAL}"] = {**found, "metadata": {**found["metadata"], "resourceVersion": "7"}}
    versions = []

    def refused(request: Request) -> Reply:
        versions.append(request.body["metadata"].get("resourceVersion"))
        return Reply(409, {"message": "the object has been modified"})

    api.answers[f"PUT {UNSEAL}"] = refused
    assert "the object has been modified" in setup(api)["msg"]
    assert set(versions) == {"7"}
    assert not vault.initialized


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


def test_whom_a_kept_revision_needs_may_go_on_using_the_key(api: StandIn, known: FakeVault) -> None:
    """The second revision no longer encrypts in the queue: whether its deploy fails or the first is returned to later, the queue's pods log in."""
    role = "auth/k8s/role/tenant-palermo"
    key_of(api, service_accounts=["booking", "walkin-queue"])
    keep(api, r1=revision("booking", "walkin-queue"))
    known.writes.clear()
    for check in (True, False):
        assert key_of(api, service_accounts=["booking"], check=check)["action"] == "unchanged"
    keep(api, r1=revision("booking", "walkin-queue"), r2=revision("booking"))
    assert key_of(api, service_accounts=["booking"])["action"] == "unchanged"
    assert known.writes == []
    # None that is kept needs it any more. A deploy that changes nothing else does not change this either.
    keep(api, r2=revision("booking"), r3=revision("booking"))
    assert key_of(api, service_accounts=["booking"], narrow=False)["action"] == "unchanged"
    assert key_of(api, service_accounts=["booking"], check=True)["action"] == "changed"
    assert known.writes == []
    assert key_of(api, service_accounts=["booking"])["action"] == "changed"
    assert known.held[role]["bound_service_account_names"] == ["booking"]
    assert key_of(api, service_accounts=["booking"])["changed"] is False


def test_a_role_that_was_lost_is_made_for_all_kept_revisions(api: StandIn, known: FakeVault) -> None:
    keep(api, r1=revision("booking", "walkin-queue"), r2=revision("booking"))
    assert key_of(api, service_accounts=["booking"])["changed"] is True
    assert known.held["auth/k8s/role/tenant-palermo"]["bound_service_account_names"] == ["booking", "walkin-queue"]


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
    for service in ("booking", "walkin-queue"):
        api.answers[f"GET {where}/secrets/{service}-admin"] = secret("tenant-palermo", f"{service}-admin", token=f"of {service}")
    api.answers[f"GET {where}/pods"] = lambda request: {
        "items": [ready_pod("walkin-queue-1" if "walkin-queue" in request.path else "booking-1")], "metadata": {},
    }
    labelled = [
        {"metadata": {"name": name, "labels": {"app.kubernetes.io/component": name}, "annotations": {"barberpro.platform/sealed-table": table}}}
        for name, table in (("booking", "bookings"), ("walkin-queue", "walkin_tickets"))
    ]
    api.items("/apis/apps/v1/namespaces/tenant-palermo/deployments", *labelled)
    options = {"kubeconfig": api.kubeconfig, "namespace": "tenant-palermo"}
    status = {"encrypting": True, "plain": 0, "sealed": 3, "data_keys": 2, "versions": [2]}
    renewed = {"rewrapped": 2, "newly_sealed": 0, "version": 2}
    tickets, tickets_renewed = {**status, "plain": 1, "sealed": 4}, {"rewrapped": 0, "newly_sealed": 1, "version": 2}

    def says(request: Request) -> Reply:
        booking = request.headers["authorization"] == "Bearer of booking"
        more = (renewed if booking else tickets_renewed) if request.method == "PUT" else {}
        return Reply(200, {**(status if booking else tickets), **more})

    api.pods = says
    assert call(tenant_encryption, {**options, "state": "inspected"}) == {
        "changed": False, "services": {"bookings": status, "walkin_tickets": tickets},
        "status": {"encrypting": True, "plain": 1, "sealed": 7, "data_keys": 2, "versions": [2]},
    }
    assert call(tenant_encryption, options, check=True)["changed"] is False
    lease = "/apis/coordination.k8s.io/v1/namespaces/barberpro-system/leases/tenant-palermo"
    held = {"holderIdentity": "eva", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 120, "leaseTransitions": 2}
    api.answers[f"GET {lease}"] = {"metadata": {"name": "tenant-palermo", "resourceVersion": "1"}, "spec": held}
    api.answers[f"PUT {lease}"] = lambda request: Reply(200, request.body)
    done = call(tenant_encryption, {**options, "run": {"id": "eva", "tenant": "palermo"}})
    # It keeps the lease of its run.
    assert [request.path.partition("?")[0] for request in api.log if request.method == "PUT" and "leases" in request.path] == [lease]
    assert (done["changed"], done["status"]["rewrapped"], done["status"]["newly_sealed"]) == (True, 2, 1)
    api.pods = lambda _request: Reply(404, {"detail": "Not Found"})
    assert "its image is older than encryption; deploy a newer one" in call(tenant_encryption, options)["msg"]
    api.pods = lambda _request: Reply(200, {**status, "encrypting": False})
    said = "Namespace tenant-palermo: what holds bookings, walkin_tickets does not encrypt: it was deployed without Vault; run deploy_vertical.yml"
    assert call(tenant_encryption, options)["msg"] == said


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
