"""Extra variables that are probably misspelt, and the warning of the callback `stages`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._extra_vars import doubtful, options_of, sentence

ROOT = Path(__file__).resolve().parents[3]
SPECS = [*ROOT.glob("playbooks/*.meta.yml"), *ROOT.glob("roles/*/meta/argument_specs.yml")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("market", ["market_size"]),
        ("host_name", ["tenant_name", "tenant_host"]),
        ("tenant_hostname", ["tenant_host"]),
        ("fleet_wave", ["fleet_waves"]),
        ("image_override", ["image_overrides"]),
        ("Tier", ["tier"]),
        # The caller's own, another playbook's, a role's, Ansible's.
        ("tenant_owner", None),
        ("my_environment", None),
        ("to_revision", None),
        ("platform_zone", None),
        ("ansible_verbosity", None),
        ("awx_job_template_name", None),
        ("tier", None),
    ],
)
def test_what_may_be_meant(name: str, meant: list[str] | None) -> None:
    found = doubtful([name], "deploy_vertical", ROOT).get(name)
    assert found is None if meant is None else (found or [])[: len(meant)] == meant


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.relative_to(ROOT)))
def test_options_are_read_as_yaml_has_them(spec: Path) -> None:
    wanted = [name for entry in yaml.safe_load(spec.read_text())["argument_specs"].values() for name in entry.get("options") or {}]
    assert options_of(spec) == wanted


@pytest.mark.parametrize(
    ("name", "warned"),
    [("market", True), ("market_size", False), ("host_name", False)],
    ids=["misspelt", "known", "in the inventory"],
)
def test_a_run_warns_and_goes_on(tmp_path: Path, name: str, warned: bool) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("host_name: ours\n")
    (tmp_path / "hosts").write_text("[tenants]\n")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": f"{sys.prefix}/collections",
        "ANSIBLE_CALLBACKS_ENABLED": "barberpro.platform.stages", "ANSIBLE_LOCALHOST_WARNING": "0",
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "hosts"), "barberpro.platform.deploy_vertical"]
    done = subprocess.run(
        [*command, "-e", f"{name}=small"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )
    # It names no tenant, and says so as ever.
    assert "Nothing was changed" in done.stdout
    wanted = sentence(name, "deploy_vertical", ["market_size"]).split()
    assert (" ".join(wanted) in " ".join((done.stdout + done.stderr).split())) is warned
    assert ("did you mean" in done.stdout + done.stderr) is warned
