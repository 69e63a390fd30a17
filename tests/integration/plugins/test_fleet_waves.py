"""A release goes through a fleet in waves, is stopped when it is bad, and an interrupted fleet is resumed: Ansible's own plays."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Kubectl

pytestmark = pytest.mark.simulated

ROOT = Path(__file__).resolve().parents[3]
TENANTS = [f"shop-{number:02d}" for number in range(1, 13)]


class Fleet:
    """Twelve tenants in an inventory, and the plays around a pipeline that only says how it ended."""

    def __init__(self, folder: Path, kubeconfig: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "KUBECONFIG": kubeconfig, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        (folder / "hosts").write_text("[tenants]\n" + "\n".join(TENANTS) + "\n")

    def run(self, *bad: str, **options: Any) -> subprocess.CompletedProcess[str]:
        extra = {"bad": bad, "fleet_report_path": str(self.folder / "reports"), "fleet_bake_seconds": 0, **options}
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(self.folder / "hosts"), str(Path(__file__).with_name("fleet.yml"))]
        return subprocess.run([*command, "-e", json.dumps(extra)], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("reports/fleets/*/fleet.json"))]


@pytest.fixture
def fleet(tmp_path: Path, simulated_kubeconfig: str, kubectl: Kubectl) -> Fleet:
    return Fleet(tmp_path, simulated_kubeconfig)


def tried(document: dict[str, Any]) -> list[str]:
    return [tenant["name"] for tenant in document["tenants"]]


def test_a_bad_release_is_stopped_after_the_second_wave(fleet: Fleet, kubectl: Kubectl) -> None:
    done = fleet.run(*TENANTS)
    assert done.returncode != 0
    document = fleet.documents()[0]
    assert tried(document) == TENANTS[:3]
    assert (document["result"], document["untouched"]) == ("stopped", TENANTS[3:])
    end = " ".join(done.stdout.split("PLAY RECAP")[1].split())
    assert f"Fleet {document['fleet']} stopped after 3 of 12 tenants: 3 of 3 tenants went wrong, more than a good release" in end
    assert "9 not touched; correct the release and deploy again. First seen in shop-01: stage testing failed" in end
    assert re.search(r"shop-03 +: .* failed=1 ", done.stdout)
    assert re.search(r"shop-04 +: .* failed=0 ", done.stdout)
    kept = kubectl.json("configmap", f"fleet-{document['fleet']}", "-n", "barberpro-system")
    assert json.loads(kept["data"]["fleet.json"]) == document


def test_one_tenant_that_goes_wrong_does_not_stop_the_others_but_fails_the_run(fleet: Fleet) -> None:
    done = fleet.run("shop-01")
    assert done.returncode != 0
    document = fleet.documents()[0]
    assert (document["result"], tried(document), document["untouched"]) == ("failed", TENANTS, [])
    assert "12 of 12 tenants done, 1 went wrong (shop-01)" in " ".join(done.stdout.split("PLAY RECAP")[1].split())


def test_an_interrupted_fleet_is_resumed_where_it_stopped(fleet: Fleet) -> None:
    # A budget of nothing stops after the first wave with a failure: the tenants before it are done.
    done = fleet.run("shop-05", fleet_failure_budget="0")
    first = fleet.documents()[0]
    assert done.returncode != 0
    assert "and the failure budget of 12 is 0" in first["summary"]
    assert tried(first) == TENANTS[:6]
    again = fleet.run(fleet_resume=first["fleet"], fleet_waves=[12])
    assert again.returncode == 0, again.stdout
    second = fleet.documents()[1]
    assert tried(second) == ["shop-05", *TENANTS[6:]]
    assert (second["result"], second["done"]) == ("succeeded", [name for name in TENANTS[:6] if name != "shop-05"])
    refused = fleet.run(fleet_resume=first["fleet"], image_overrides={"booking": "other:1"})
    assert refused.returncode != 0
    assert "deployed other images" in refused.stdout
    assert len(fleet.documents()) == 2


def test_a_fleet_that_was_stopped_goes_on_when_the_platform_was_at_fault(fleet: Fleet) -> None:
    fleet.run(*TENANTS)
    first = fleet.documents()[0]["fleet"]
    refused = fleet.run(fleet_resume=first)
    assert refused.returncode != 0
    assert f"fleet {first} cannot go on with the same release: 3 of 3 tenants went wrong" in " ".join(refused.stdout.split())
    again = fleet.run(fleet_resume=first, fleet_excused=TENANTS[:3], fleet_waves=[12])
    assert again.returncode == 0, again.stdout
    assert fleet.documents()[1]["result"] == "succeeded"


def test_a_tenant_whose_settings_have_changed_is_deployed_again(fleet: Fleet) -> None:
    fleet.run("shop-05", fleet_failure_budget="0")
    first = fleet.documents()[0]["fleet"]
    inventory = fleet.folder / "hosts"
    inventory.write_text(inventory.read_text().replace("shop-02\n", "shop-02 tier=large\n"))
    again = fleet.run(fleet_resume=first, fleet_waves=[12])
    assert again.returncode == 0, again.stdout
    assert tried(fleet.documents()[1]) == ["shop-02", "shop-05", *TENANTS[6:]]


def test_a_wave_bakes_before_the_next_begins(fleet: Fleet) -> None:
    """Two seconds before each wave but the first, as the record says by whom it has watched."""
    done = fleet.run(fleet_bake_seconds=2, fleet_waves=[3, 9])
    assert done.returncode == 0, done.stdout
    assert fleet.documents()[0]["baked"] == TENANTS[:3]
