"""A private registry: every pod of the platform names the Secret with which nodes pull, and its namespace has it."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = "registry.barberpro.example"
AUTH = base64.b64encode(b"ana:registry-canary").decode()
KEYS = ("envoy", "envoy_gateway", "postgresql", "pgbouncer", "vault", "prometheus", "alertmanager", "prometheus_operator", "prometheus_config_reloader")
TEMPLATES = ("postgresql", "pooler", "vault", "prometheus-operator", "prometheus", "envoy", "registry")


@pytest.fixture(scope="module", params=[True, False], ids=["private", "open"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, dict[str, Any]]:
    """What the role renders with and without a file of credentials, by one run of Ansible each."""
    folder = tmp_path_factory.mktemp("platform")
    (folder / "config.json").write_text(json.dumps({"auths": {REGISTRY: {"auth": AUTH}}}))
    # Lookups of the templates find their files beside the playbook, as they do beside the role.
    for name in ("templates", "files"):
        (folder / name).symlink_to(ROOT / "roles/platform" / name)
    objects = {
        "objects": "{{ __platform_objects }}", "chart": "{{ __platform_gateway_values }}", "namespaces": "{{ __platform_pull_namespaces }}",
    }
    play = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}", "images": {key: f"{REGISTRY}/{key}:1" for key in KEYS},
            "registry_auth_file": str(folder / "config.json") if request.param else "", "platform_kubeconfig": "none", "platform_zone": "barberpro.example",
            "platform_vault": "managed", "platform_pooler": "pgbouncer", "platform_gateway_chart_ref": "none",
            "__platform_secrets": {name: dict.fromkeys(("ca.crt", "tls.crt", "hash"), "") for name in ("postgresql-tls", "pooler-tls", "vault-tls")},
            "__platform_pooler_password": "p", "__platform_vault_password": "v",
        },
        "tasks": [
            {"ansible.builtin.include_role": {"name": "barberpro.platform.vertical_base", "public": True}},
            {"ansible.builtin.include_role": {"name": "barberpro.platform.platform", "tasks_from": "validate.yml", "public": True}},
            {
                "ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(folder / "found")}, "no_log": True,
                "vars": {"found": objects, "__platform_templates": [f"{name}.yml.j2" for name in TEMPLATES]},
            },
        ],
    }]
    (folder / "play.json").write_text(json.dumps(play))
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert AUTH not in done.stdout
    found: dict[str, Any] = json.loads((folder / "found").read_text())
    return request.param, found


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield namespace, name and what becomes a pod's spec, of each object that makes pods."""
    for item in objects:
        spec = item.get("spec", {})
        where = (item["metadata"].get("namespace", ""), f"{item['kind']} {item['metadata']['name']}")
        if item["kind"] in ("Deployment", "StatefulSet"):
            yield (*where, spec["template"]["spec"])
        elif item["kind"] in ("Prometheus", "Alertmanager"):
            yield (*where, spec)
        elif item["kind"] == "EnvoyProxy":
            yield (*where, spec["provider"]["kubernetes"]["envoyDeployment"]["pod"])


def test_every_pod_of_the_platform_pulls_with_it(rendered: tuple[bool, dict[str, Any]]) -> None:
    private, found = rendered
    named = {name: spec.get("imagePullSecrets") for namespace, name, spec in pods(found["objects"])}
    assert {name.partition(" ")[0] for name in named} == {"Deployment", "StatefulSet", "Prometheus", "Alertmanager", "EnvoyProxy"}
    assert set(map(str, named.values())) == {str([{"name": "registry"}] if private else None)}
    assert found["chart"]["global"]["imagePullSecrets"] == ([{"name": "registry"}] if private else [])


def test_every_namespace_of_such_a_pod_has_the_secret(rendered: tuple[bool, dict[str, Any]]) -> None:
    private, found = rendered
    secrets = {item["metadata"]["namespace"]: item["data"] for item in found["objects"] if item["kind"] == "Secret" and item["metadata"]["name"] == "registry"}
    wanted = {namespace for namespace, _name, _spec in pods(found["objects"])} | {"barberpro-preflight", "barberpro-data"}
    assert set(found["namespaces"]) == wanted
    assert set(secrets) == (wanted if private else set())
    for data in secrets.values():
        assert json.loads(base64.b64decode(data[".dockerconfigjson"])) == {"auths": {REGISTRY: {"auth": AUTH}}}


def test_default_accounts_keep_it_only_while_there_is_one(rendered: tuple[bool, dict[str, Any]]) -> None:
    private, found = rendered
    accounts = {item["metadata"]["namespace"]: item.get("imagePullSecrets") for item in found["objects"]
                if item["kind"] == "ServiceAccount" and item["metadata"]["name"] == "default"}
    assert accounts == dict.fromkeys(("barberpro-preflight", "barberpro-data"), [{"name": "registry"}] if private else None)
