"""Who can use which tenant's key: nobody but the tenant, or the exact right that is too many."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _isolation, _isolation_keys
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import tenant_policy

from tests.support.api_stand_in import StandIn, secret
from tests.support.fake_vault import FakeVault

SYSTEM = "/api/v1/namespaces/barberpro-system"
FACTS = {"provider": "managed", "transit": "tr", "auth": "k8s", "approle": "ar", "database": "db", "address": "https://vault:8200"}
TENANTS = {"tenant-palermo": "palermo", "tenant-recoleta": "recoleta", "tenant-plain": "plain"}


def role(name: str, **more: Any) -> dict[str, Any]:
    return {
        "bound_service_account_names": ["booking"], "bound_service_account_namespaces": [name], "token_policies": ["barberpro-tenant"], **more,
    }


@pytest.fixture
def vault(api: StandIn) -> FakeVault:
    """A Vault with two tenants' keys and the key that signs records."""
    fake = FakeVault()
    api.pods = fake
    api.answers[f"GET {SYSTEM}/secrets/vault-deployer"] = secret("barberpro-system", "vault-deployer", role_id="role-7", secret_id="secret-7")
    for name in ("tenant-palermo", "tenant-recoleta"):
        fake.keys[f"tr/keys/{name}"] = {"exportable": False, "allow_plaintext_backup": False}
        fake.held[f"auth/k8s/role/{name}"] = role(name)
    fake.keys["tr/keys/barberpro-records"] = {"exportable": False}
    fake.held["sys/policies/acl/barberpro-tenant"] = {"policy": tenant_policy("tr", "acc_1")}
    return fake


@pytest.fixture
def examine(api: StandIn, vault: FakeVault) -> Callable[[], dict[str, Any]]:
    return lambda: _isolation_keys.examine(Client.from_options({"kubeconfig": api.kubeconfig}), FACTS, TENANTS)


def sentences(found: dict[str, Any]) -> list[str]:
    return [item["sentence"] for item in found["findings"]]


def test_nobody_uses_the_key_of_another(examine: Callable[[], dict[str, Any]]) -> None:
    assert examine() == {"keys": 2, "logins": 2, "without_key": ["plain"], "findings": []}


@pytest.mark.parametrize(("change", "words"), [
    ({"token_policies": ["barberpro-tenant", "root-like"]}, "login role tenant-palermo of Vault gives policies root-like beside barberpro-tenant"),
    ({"bound_service_account_namespaces": ["tenant-palermo", "tenant-recoleta"]},
     "service accounts of namespace tenant-recoleta may log in to Vault as tenant-palermo"),
    ({"bound_service_account_names": ["*"]}, "any service account may log in to Vault as tenant-palermo"),
    ({"bound_service_account_namespace_selector": "{}"}, "namespaces are chosen by a selector for login role tenant-palermo of Vault"),
])
def test_a_login_too_wide_is_named(examine: Callable[[], dict[str, Any]], vault: FakeVault, change: dict[str, Any], words: str) -> None:
    vault.held["auth/k8s/role/tenant-palermo"].update(change)
    assert sentences(examine()) == [words]


def test_a_role_of_nobody_is_named_too(examine: Callable[[], dict[str, Any]], vault: FakeVault) -> None:
    vault.held["auth/k8s/role/helper"] = role("tenant-palermo")
    assert sentences(examine()) == ["service accounts of namespace tenant-palermo may log in to Vault as helper"]


def test_a_policy_that_was_widened(examine: Callable[[], dict[str, Any]], vault: FakeVault) -> None:
    for text in (tenant_policy("tr", "acc_1") + 'path "tr/decrypt/*" {\n  capabilities = ["update"]\n}\n', ""):
        vault.held["sys/policies/acl/barberpro-tenant"] = {"policy": text}
        assert sentences(examine()) == ["policy barberpro-tenant of Vault does not say what deploy_platform.yml writes: tenants may use keys of others"]


def test_a_key_that_can_leave_and_a_deployer_who_can_decrypt(examine: Callable[[], dict[str, Any]], vault: FakeVault) -> None:
    vault.keys["tr/keys/tenant-recoleta"].update(exportable=True, allow_plaintext_backup=True)
    vault.granted["tr/decrypt/tenant-palermo"] = ["update", "create"]
    assert sentences(examine()) == [
        "key tenant-recoleta can be exported from Vault", "key tenant-recoleta can be backed up in the clear from Vault",
        "the deployer may create, update tr/decrypt/tenant-palermo",
    ]


def test_an_answer_that_says_nothing_is_not_taken_for_no_right(examine: Callable[[], dict[str, Any]], vault: FakeVault) -> None:
    vault.granted["tr/decrypt/tenant-palermo"] = []
    with pytest.raises(PlatformError, match="what the platform's own login may do at tr/decrypt/tenant-palermo, and did not say"):
        examine()


def test_facts_of_the_platform(api: StandIn) -> None:
    resources = Resources(Client.from_options({"kubeconfig": api.kubeconfig}))
    assert _isolation.facts_of(resources) == {}
    for facts in ({"vault": {}}, {"vault": FACTS}):
        api.answers[f"GET {SYSTEM}/secrets/barberpro-platform"] = secret("barberpro-system", "barberpro-platform", facts=json.dumps(facts))
        assert _isolation.facts_of(resources) == facts
