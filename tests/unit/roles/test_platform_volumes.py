"""What becomes of the volumes that PostgreSQL and Vault have, when their sizes and classes change; kubectl is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import ROOT
from tests.support.cores import CORES

PLATFORM = ROOT / "roles/platform"
REFUSED = 'Error from server (Forbidden): persistentvolumeclaims "data-postgresql-0" is forbidden: the class must support resize'
KUBECTL = """#!/bin/sh
case "$*" in
  *" get "*) cat "$(dirname "$0")/live.json" ;;
  *"patch persistentvolumeclaim data-"*" --dry-run=server "*9Ti*) echo '{refused}' >&2; exit 1 ;;
  *"patch persistentvolumeclaim data-"*" --dry-run=server "*) ;;
  *) exit 2 ;;
esac
"""
BEFORE = {"postgresql": "20Gi", "vault": "1Gi"}
BIGGER = {"platform_postgresql_storage": "50Gi"}


def live(namespaces: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the cluster has: sets with their claims, and a tenant's claim that looks like the platform's."""
    found: list[dict[str, Any]] = []
    for name, namespace in namespaces.items():
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": BEFORE[name]}}, "volumeMode": "Filesystem"}
        found += [
            {"kind": "StatefulSet", "metadata": {"name": name, "namespace": namespace}, "spec": {"volumeClaimTemplates": [{"spec": spec}]}},
            {"kind": "PersistentVolumeClaim", "metadata": {"name": f"data-{name}-0", "namespace": namespace}, "spec": {**spec, "storageClassName": "slow"}},
        ]
    theirs = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-postgresql-0", "namespace": "tenant-x"}}
    return [*found, {**theirs, "spec": {"resources": {"requests": {"storage": "9Ti"}}}}]


def run(core: str, folder: Path, there: bool, changed: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return what a run says, and the objects of both servers that it would apply; none when it ends before."""
    (folder / "live.json").write_text(json.dumps({"items": live({"postgresql": "barberpro-data", "vault": "barberpro-vault"} if there else {})}))
    (folder / "kubectl").write_text(KUBECTL.replace("{refused}", REFUSED))
    (folder / "kubectl").chmod(0o755)
    for name in ("templates", "files"):
        (folder / name).symlink_to(PLATFORM / name)
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "vars_files": [str(PLATFORM / f"{name}/main.yml") for name in ("defaults", "vars")],
        "tasks": [
            *yaml.safe_load((PLATFORM / "tasks/volumes.yml").read_text()),
            {
                "ansible.builtin.copy": {"content": "{{ __platform_objects | to_json }}", "dest": str(folder / "objects")},
                "vars": {"__platform_templates": ["postgresql.yml.j2", "vault.yml.j2"]},
            },
        ],
    }  # fmt: skip
    extra = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}", "platform_kubectl": str(folder / "kubectl"), "platform_kubeconfig": "none",
        "platform_zone": "barberpro.example", "platform_vault": "managed", "images": {"postgresql": "r/p", "vault": "r/v"}, "__platform_secrets": {},
        "__platform_database_certificate": "", **changed,
    }  # fmt: skip
    (folder / "play.json").write_text(json.dumps([play]))
    command = [str(ROOT / core / "bin" / "ansible-playbook"), "-i", "localhost,", "-e", json.dumps(extra), str(folder / "play.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **CORES[core]}, capture_output=True, text=True, check=False, timeout=120)
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) is (folder / "objects").exists(), said
    return said, json.loads((folder / "objects").read_text()) if done.returncode == 0 else []


def sizes(objects: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the sizes in the sets' templates, and those of claims."""
    templates = {
        item["metadata"]["name"]: item["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
        for item in objects if item["kind"] == "StatefulSet"
    }
    claims = {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["spec"]["resources"]["requests"]["storage"]
        for item in objects if item["kind"] == "PersistentVolumeClaim"
    }
    return templates, claims


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_a_larger_volume_grows_by_its_claim(core: str, tmp_path: Path) -> None:
    _said, objects = run(core, tmp_path, there=True, changed=BIGGER)
    assert sizes(objects) == (BEFORE, {"barberpro-data/data-postgresql-0": "50Gi"})


def test_where_nothing_is_yet_the_set_is_made_with_it(tmp_path: Path) -> None:
    _said, objects = run(".venv", tmp_path, there=False, changed=BIGGER)
    assert sizes(objects) == ({**BEFORE, "postgresql": "50Gi"}, {})


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_what_a_volume_cannot_become_is_refused_first(core: str, tmp_path: Path) -> None:
    said, _objects = run(core, tmp_path, there=True, changed={"platform_postgresql_storage": "9Ti", "platform_vault_storage_class": "fast"})
    assert (
        "platform_vault_storage_class is 'fast', and claim barberpro-vault/data-vault-0 has class 'slow', which a claim keeps for good: "
        "set it back or leave it empty; platform_postgresql_storage is '9Ti', and claim barberpro-data/data-postgresql-0 asks for 20Gi, which cannot "
        f"become that: {REFUSED} (a volume never shrinks, and grows where its class has allowVolumeExpansion): "
        "set it back, or have the class allow it. Nothing was changed."
    ) in said.replace('\\"', '"').replace("''", "'"), said
