"""What Vault is told of the database anew: another authority of its certificate, another password."""

from __future__ import annotations

from tests.support.api_stand_in import StandIn, secret
from tests.support.fake_vault import FakeVault
from tests.support.loopback import Reply

from .test_vault import DATABASE, encoded, setup, vault

__all__ = ["vault"]  # a fixture


def test_vault_is_told_of_a_new_authority_of_the_database_and_of_none(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    setup(api, database=DATABASE)
    assert setup(api, database={**DATABASE, "ca": "new"}, check=True)["changes"] == ["db/config/postgresql"]
    for authority in ("new", ""):
        assert setup(api, database={**DATABASE, "ca": authority})["changes"] == ["db/config/postgresql"]
        assert vault.held["db/config/postgresql"]["connection_details"]["tls_ca"] == authority
        assert setup(api, database={**DATABASE, "ca": authority})["changes"] == []


def test_vault_is_told_of_a_new_password_of_the_database_once(api: StandIn, vault: FakeVault) -> None:
    vault.initialized = False
    path = "/api/v1/namespaces/barberpro-vault/secrets/vault-database"
    api.answers[f"GET {path}"] = secret("barberpro-vault", "vault-database", password="canary-of-vault")
    api.answers[f"PUT {path}"] = lambda request: api.answers.update({f"GET {path}": request.body}) or Reply(200, request.body)
    setup(api, database=DATABASE)
    assert setup(api, database=DATABASE)["changes"] == []
    new = {**DATABASE, "password": "canary-of-new"}
    assert setup(api, database=new, check=True)["changes"] == ["db/config/postgresql"]
    assert setup(api, database=new)["changes"] == ["db/config/postgresql"]
    assert setup(api, database=new)["changes"] == []
    held = api.answers[f"GET {path}"]
    assert held["data"] == encoded({"password": "canary-of-vault"})
    assert "canary" not in str(held["metadata"])
