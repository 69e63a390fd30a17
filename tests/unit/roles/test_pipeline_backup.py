"""What a plan says of the backup before migrations, with both ansible-cores; the API server and the registry are stand-ins."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import loopback
from tests.support.api_stand_in import StandIn, stand_in
from tests.support.cluster import ROOT
from tests.support.cores import CORES
from tests.support.loopback import Reply, Request

TASKS = ROOT / "roles" / "pipeline" / "tasks"
TABLE = "alembic_version_booking"
# The migration that each image brings; what is in the database is that of the old one.
HEADS = {"old": "0007", "new": "0008", "silent": ""}
WHERE = "backup TIME-before-r4 of schema t_1, to folder shop of volume claim data/backups (the newest 10 are kept),"


def task(name: str) -> dict[str, Any]:
    """Return a task of those that write the plan."""
    (found,) = [item for item in yaml.safe_load((TASKS / "write_plan.yml").read_text()) if item["name"] == name]
    return dict(found)


def registry(request: Request) -> Reply:
    """Answer for the images, each a repository."""
    image, kind = request.path.split("/")[2:4]
    labels = {"platform.barberpro.migrations": f"{TABLE}={HEADS[image]}" if HEADS[image] else ""}
    return Reply(200, {"config": {"digest": "sha256:c"} if kind == "manifests" else {"Labels": labels}})


def serve(api: StandIn, image: str) -> None:
    """Have the stand-in run a revision of this image."""
    labels = {"app.kubernetes.io/component": "booking"}
    api.answers["GET /apis/apps/v1/namespaces/tenant-shop/deployments/booking-r3"] = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "booking-r3", "namespace": "tenant-shop", "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"name": "booking", "image": image}]}}},
    }  # fmt: skip


def planned(core: str, folder: Path, serving: str, coming: str, *, rows: bool = True) -> list[str]:
    """Return the lines of the plan of a run from one image to another; nothing but the plan was written for it.

    The database is away, and so taken for one that holds rows; without them its answer is given instead.
    """
    with loopback.web(registry) as server, stand_in(folder) as api:
        images = {name: f"{server.address}/{name}:1" for name in HEADS}
        serve(api, images[serving])
        facts = {
            "__pipeline_plan": {"current": 3, "revision": "r4"}, "__pipeline_dry": True, "__pipeline_rehearsal": {}, "__pipeline_rehearsed": {},
            "__pipeline_workloads": {"booking": {"image": "booking", "migrate": ["m"], "rehearse": ["r"]}}, "__pipeline_images": {"booking": images[coming]},
            "__pipeline_platform": {"salt": "s", "data_namespace": "data"}, "database_heads": {TABLE: HEADS["old"]},
            "__pipeline_said": [{"image": images[coming], "table": TABLE if HEADS[coming] else "", "head": HEADS[coming]}],
        }  # fmt: skip
        shared = {
            "barberpro_kubeconfig": api.kubeconfig, "platform_zone": "barberpro.test", "images": {}, "database_admin_host": "127.0.0.1",
            "database_admin_port": 1, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        }  # fmt: skip
        look = task("See whether the schema holds anything that migrations could lose")
        look["ansible.builtin.include_role"] = look.pop("ansible.builtin.import_role")
        backup = task("Write the plan")["barberpro.platform.deploy_plan"]["backup"]
        database = {"schema": "t_1", "migrations": "{{ __pipeline_migrations }}"}
        document = {"path": str(folder), "tenant": "shop", "release": {"revision": "r4"}, "database": database, "backup": backup, "kubeconfig": api.kubeconfig}
        play = {"hosts": "all", "connection": "local", "gather_facts": False, "tasks": [
            {"ansible.builtin.set_fact": facts},
            {"ansible.builtin.include_role": {"name": "barberpro.platform.pipeline", "tasks_from": "rehearse.yml", "public": True}},
            look if rows else {"ansible.builtin.set_fact": {"database_holds_rows": False}},
            {"barberpro.platform.deploy_plan": document},
        ]}  # fmt: skip
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"shop": shared}}}))
        (folder / "play.yml").write_text(yaml.safe_dump([play]))
        command = [str(ROOT / core / "bin" / "ansible-playbook"), "--check", "-i", str(folder / "hosts.yml"), str(folder / "play.yml")]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400", **CORES[core]}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [request.path for request in api.log if request.method != "GET"] == []
    (path,) = folder.glob("shop/*/plan.json")
    assert json.loads(path.read_text())["database"]["backup"].get("keep") == (10 if rows else None)
    return path.with_suffix(".txt").read_text().splitlines()


@pytest.mark.parametrize("core", CORES, ids=["newest", "oldest"])
def test_what_the_run_will_try_it_backs_up_where_that_finds_a_loss(core: str, tmp_path: Path) -> None:
    lines = planned(core, tmp_path, "old", "new")
    at = lines.index(f"  ? {WHERE}")
    assert lines[at + 1] == (
        "      if the rehearsal of booking (0007 -> 0008), which is left to the run since it writes, finds a statement that is not known to keep all data"
    )
    assert lines[at + 2].startswith("  ~ migrate booking from 0007 to 0008")


@pytest.mark.parametrize(
    ("serving", "coming", "why"),
    [
        ("silent", "new", "(0007 -> 0008) cannot be tried, as its image that serves does not say which migrations it knows"),
        ("old", "silent", "(nothing -> unknown) cannot be tried, as its image to come does not say which migrations it brings"),
    ],
)
def test_what_the_run_cannot_try_it_backs_up_for_certain(tmp_path: Path, serving: str, coming: str, why: str) -> None:
    lines = planned(".venv", tmp_path, serving, coming)
    assert lines[lines.index(f"  + {WHERE}") + 1] == (
        f"      because the migration of booking {why} (label platform.barberpro.migrations), so that nobody knows what it could lose"
    )


def test_nothing_is_said_where_the_schema_holds_nothing_to_lose(tmp_path: Path) -> None:
    lines = planned(".venv-2.18", tmp_path, "old", "new", rows=False)
    assert lines[lines.index("Database (schema t_1):") + 1].startswith("  ~ migrate booking")
    assert [line for line in lines if "backup" in line] == []
