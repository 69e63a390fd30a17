"""A private registry: the pipeline asks it with its credentials and hands them to the nodes."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import loopback
from tests.support.loopback import Reply, Request

ROOT = Path(__file__).resolve().parents[3]
AUTH = base64.b64encode(b"ana:registry-canary").decode()
TASKS = sorted(ROOT.glob("roles/pipeline/tasks/**/*.yml"))


def private(request: Request) -> Reply:
    """A registry that lets nobody in without credentials."""
    if request.headers.get("authorization") != f"Basic {AUTH}":
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    if "/manifests/" in request.path:
        return Reply(200, {"config": {"digest": "sha256:" + "2" * 64}})
    return Reply(200, {"config": {"Labels": {"platform.barberpro.migrations": "booking_version=0007"}}})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the role's own expressions make of a file with credentials, by one run of Ansible."""
    folder = tmp_path_factory.mktemp("registry")
    with loopback.web(private) as server:
        (folder / "config.json").write_text(json.dumps({"auths": {name: {"auth": AUTH} for name in (server.address, "before.test", "other.test")}}))
        image = f"{server.address}/barberpro/booking:1"
        play = [{
            "hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(ROOT / "roles/pipeline/vars/main.yml")],
            "vars": {
                "ansible_python_interpreter": "{{ ansible_playbook_python }}", "pipeline_vertical": "shop", "vertical_base_workloads": {},
                "shop_workloads": {"booking": {"image": "booking", "admin": False}}, "pipeline_images": {"booking": image}, "pipeline_image_overrides": {},
                "__pipeline_kept_revisions": {"images": [image, "before.test/barberpro/booking:1", "public.test/barberpro/booking:1"]},
                "pipeline_tenant_name": "palermo", "pipeline_registry_auth_file": str(folder / "config.json"), "pipeline_registry_ca_file": "",
                "__pipeline_platform": {
                    "salt": "s", "database_host": "db", "database_port": "5432", "database_name": "barberpro", "database_sslmode": "require",
                },
                "found": {
                    "images": "{{ __pipeline_workload_images }}", "registry": "{{ __pipeline_registry }}", "credentials": "{{ __pipeline_credentials }}",
                    "said": "{{ query('barberpro.platform.migrations', *__pipeline_workload_images, **__pipeline_registry) }}",
                },
            },
            "tasks": [{"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(folder / "found")}, "no_log": True}],
        }]
        (folder / "play.json").write_text(json.dumps(play))
        done = subprocess.run(
            [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", folder / "play.json"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((folder / "found").read_text())
    return {**result, "host": server.address, "file": str(folder / "config.json")}


def test_the_lookup_of_migrations_gets_in(found: dict[str, Any]) -> None:
    assert found["registry"] == {"auth_file": found["file"]}
    assert [(said["head"], said["problem"]) for said in found["said"]] == [("0007", "")]


def test_nodes_get_the_credentials_of_the_registries_of_new_and_kept_images_alone(found: dict[str, Any]) -> None:
    (secret,) = [item for item in found["credentials"] if item["name"] == "registry"]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert list(secret["secret_data"]) == [".dockerconfigjson"]
    config = secret["secret_data"][".dockerconfigjson"]
    assert isinstance(config, str)
    assert json.loads(config) == {"auths": {found["host"]: {"auth": AUTH}, "before.test": {"auth": AUTH}}}


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_whoever_asks_a_registry_passes_them_on(path: Path) -> None:
    text = " ".join(path.read_text().split())
    asked = re.findall(r"query\('barberpro\.platform\.migrations'.*?(?=}})", text) + re.findall(r"'check': 'image'.*?\|", text)
    assert [call for call in asked if "__pipeline_registry" not in call] == []
