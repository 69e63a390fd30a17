"""The module backup: what its pod is given, what is refused before there is one, and what its answer becomes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._backup import _HEAD, _SCRIPTS, _TAIL
from ansible_collections.barberpro.platform.plugins.modules import backup

from tests.support import modules
from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

PODS, SECRETS = "/api/v1/namespaces/barberpro-data/pods", "/api/v1/namespaces/barberpro-data/secrets"
POD, SECRET = f"{PODS}/backup-x", f"{SECRETS}/backup-x"
DATABASE = {"host": "db", "port": "5432", "dbname": "barberpro", "schema": "t_1", "sslmode": "require", "user": "t_1_owner", "password": "secret-canary"}


class Cluster:
    """A cluster in which the pod says what a test wants."""

    def __init__(self, api: StandIn) -> None:
        self.api, self.made, self.deleted = api, {}, []
        self.said = json.dumps({"backup": {"changed": True, "found": True, "names": ["one", "two"]}})
        for path in (PODS, SECRETS):
            api.answers[f"POST {path}"] = self.create
            api.items(path)
        for path in (POD, SECRET):
            api.answers[f"DELETE {path}"] = self.delete
        ended = {"phase": "Succeeded", "containerStatuses": [{"name": "backup", "state": {"terminated": {"exitCode": 0}}}]}
        api.answers[f"GET {POD}"] = lambda _request: {**self.made["Pod"], "status": ended}
        api.answers[f"GET {POD}/log"] = lambda _request: Reply(200, self.said + "\n")

    def create(self, request: Request) -> Reply:
        self.made[request.body["kind"]] = request.body
        return Reply(201, request.body)

    def delete(self, request: Request) -> Reply:
        self.deleted.append(request.path.partition("?")[0])
        return Reply(200, {})


@pytest.fixture
def cluster(api: StandIn) -> Cluster:
    return Cluster(api)


def call(cluster: Cluster, *, check: bool = False, **more: Any) -> dict[str, Any]:
    asked = {"name": "x", "backup": "one", "image": "postgres@sha256:1", "database": DATABASE, "kubeconfig": cluster.api.kubeconfig, **more}
    return modules.call(backup, {key: value for key, value in asked.items() if value is not None}, check=check)


def test_a_backup_is_taken_by_a_pod_of_which_nothing_is_left(cluster: Cluster) -> None:
    found = call(cluster)
    assert (found["changed"], found["backup"], found["backups"]) == (True, "one", ["one", "two"])
    assert cluster.deleted == [POD, SECRET]
    [container] = cluster.made["Pod"]["spec"]["containers"]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {"TENANT": "x", "NAME": "one", "SCHEMA": "t_1", "KEEP": "10"}
    assert "pg_dump --format=custom" in container["command"][2]
    assert base64.b64decode(cluster.made["Secret"]["data"]["PGPASSWORD"]).decode() == "secret-canary"
    assert "secret-canary" not in json.dumps([found, cluster.made["Pod"]])
    # Its shell ends for no signal, and the next run waits half a minute for what a killed one has left.
    assert cluster.made["Pod"]["spec"]["terminationGracePeriodSeconds"] == 0


def test_a_run_knows_its_own_pod_from_that_of_the_next(cluster: Cluster) -> None:
    """As the task of a killed run finds it, when the next run has removed its pod and has made one of the same name."""
    with_uid = cluster.create

    def create(request: Request) -> Reply:
        request.body["metadata"]["uid"] = "mine"
        return with_uid(request)

    bodies: list[Any] = []

    def delete(request: Request) -> Reply:
        bodies.append(request.body["preconditions"])
        return cluster.delete(request)

    ended = cluster.api.answers[f"GET {POD}"]
    for path in (PODS, SECRETS):
        cluster.api.answers[f"POST {path}"] = create
    for path in (POD, SECRET):
        cluster.api.answers[f"DELETE {path}"] = delete
    assert call(cluster)["backup"] == "one"
    assert bodies == [{"uid": "mine"}] * 2
    cluster.api.answers[f"GET {POD}"] = lambda request: {**ended(request), "metadata": {"name": "backup-x", "uid": "another"}}
    assert "Pod barberpro-data/backup-x was removed while it ran; run again" in call(cluster)["msg"]
    assert bodies == [{"uid": "mine"}] * 4


def test_check_mode_makes_nothing(cluster: Cluster) -> None:
    assert call(cluster, check=True)["changed"] is True
    assert cluster.made == {}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"backup": "../other/one"}, "backup '../other/one' is no name of a backup; use letters, digits, dots, hyphens and underscores"),
        (
            {"state": "restored", "confirm": "y"},
            "tenant x: restoring replaces everything in its tables by what backup one holds; repeat the name of the tenant in confirm (given: 'y')",
        ),
        (
            {"state": "absent", "confirm": "y"},
            "tenant x: its backups are removed for good; repeat its name in confirm (given: 'y')",
        ),
    ],
)
def test_what_is_refused_before_there_is_a_pod(cluster: Cluster, more: dict[str, Any], sentence: str) -> None:
    assert call(cluster, **more)["msg"] == sentence
    assert cluster.made == {}


def test_backups_are_removed_without_the_database(cluster: Cluster) -> None:
    cluster.said = json.dumps({"backup": {"changed": True, "found": True, "names": []}})
    found = call(cluster, state="absent", backup=None, database=None, confirm="x")
    assert (found["changed"], found["backups"]) == (True, [])
    assert list(cluster.made) == ["Pod"]
    assert call(cluster, database=None)["msg"] == "state is present but all of the following are missing: database"


def test_a_backup_that_is_not_there_is_named_with_those_that_are(cluster: Cluster) -> None:
    cluster.said = json.dumps({"backup": {"changed": False, "found": False, "names": ["two", "one"]}})
    found = call(cluster, state="restored", backup="three", confirm="x")
    assert found["msg"] == "tenant x has no backup three; choose one of these: one, two. Nothing was changed"


def test_a_pod_that_fails_says_what_it_said(cluster: Cluster) -> None:
    cluster.said = "pg_dump: error: connection refused"
    assert call(cluster)["msg"] == "backup one of tenant x could not be taken: container backup ended with code 0: pg_dump: error: connection refused"
    assert call(cluster, state="listed")["msg"].startswith("the backups of tenant x could not be listed: container backup ended")


def test_the_newest_are_kept_and_one_that_is_there_is_not_taken_again(tmp_path: Path) -> None:
    """The script itself, with programs that stand in for PostgreSQL's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text('#!/bin/sh\nfor word; do case "$word" in --file=*) echo dump > "${word#--file=}";; esac; done\n')
        (programs / name).chmod(0o755)
    script = (_HEAD + _SCRIPTS["present"] + _TAIL).replace("/backups/", f"{tmp_path}/backups/").replace("/tmp/list", f"{tmp_path}/list")

    def run(name: str) -> dict[str, Any]:
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TENANT": "x", "NAME": name, "SCHEMA": "t_1", "KEEP": "2"}
        done = subprocess.run([shutil.which("sh") or "sh", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=20)
        found: dict[str, Any] = json.loads(done.stdout)["backup"]
        return found

    assert run("one") == {"changed": True, "found": True, "names": ["one"]}
    assert run("one") == {"changed": False, "found": True, "names": ["one"]}
    for number, name in enumerate(("one", "two")):
        run(name)
        os.utime(tmp_path / "backups" / "x" / f"{name}.dump", (number + 1, number + 1))
    other = tmp_path / "backups" / "y"
    other.mkdir()
    (other / "kept.dump").touch()
    assert run("three") == {"changed": True, "found": True, "names": ["three", "two"]}
    assert (other / "kept.dump").exists()
    script = (_HEAD + _SCRIPTS["absent"] + _TAIL).replace("/backups/", f"{tmp_path}/backups/")
    assert run("") == {"changed": True, "found": True, "names": []}
    assert run("") == {"changed": False, "found": True, "names": []}
    assert (other / "kept.dump").exists()


LISTED = """;
; Archive created at 2027-03-01
5; 2615 1 SCHEMA - t_1 t_1_owner
215; 1259 2 TABLE t_1 bookings t_1_owner
216; 1259 3 TABLE t_1 data_keys t_1_owner
217; 1259 4 TABLE t_1 data_keys_archive t_1_owner
3340; 0 0 COMMENT t_1 TABLE data_keys t_1_owner
3341; 0 0 COMMENT t_1 COLUMN data_keys.wrapped t_1_owner
3338; 0 3 TABLE DATA t_1 data_keys t_1_owner
3339; 0 2 TABLE DATA t_1 bookings t_1_owner
3190; 2606 5 CONSTRAINT t_1 data_keys data_keys_pkey t_1_owner
3191; 1259 6 INDEX t_1 data_keys_one_index t_1_owner
3192; 1259 7 INDEX t_1 bookings_by_test_run t_1_owner
3344; 0 0 ACL t_1 TABLE data_keys t_1_owner
3345; 0 0 ACL t_1 TABLE bookings t_1_owner
"""


@pytest.mark.parametrize(("there", "kept"), [("t", {"217", "215", "3339", "3192", "3345"}), ("f", None)])
def test_a_restore_leaves_the_table_of_data_keys_out_where_there_is_one(tmp_path: Path, there: str, kept: set[str] | None) -> None:
    """The table holds the keys of every backup, wrapped by the versions in force: the backup's own would open nothing after a rotation."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "listed").write_text(LISTED)
    said = {
        "pg_restore": f'case "$*" in --list*) cat {tmp_path}/listed;; --data-only*) touch {tmp_path}/rows;; *) echo "$*" > {tmp_path}/asked;; esac',
        "psql": f'case "$*" in *to_regclass*t_1.data_keys*) echo {there};; esac',
    }
    for name, script in said.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "backups" / "x").mkdir(parents=True)
    (tmp_path / "backups" / "x" / "one.dump").touch()
    # The first replacement is of the pod's own folder: the test's lies below it.
    script = (_HEAD + _SCRIPTS["restored"] + _TAIL).replace("/tmp/", f"{tmp_path}/").replace("/backups/", f"{tmp_path}/backups/")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TENANT": "x", "NAME": "one", "SCHEMA": "t_1", "KEEP": "2", "PGDATABASE": "barberpro"}
    done = subprocess.run([shutil.which("sh") or "sh", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=20)
    assert json.loads(done.stdout)["backup"]["changed"] is True
    restored = [line for line in (tmp_path / "list").read_text().splitlines() if not line.startswith(";")]
    everything = {line.partition(";")[0] for line in LISTED.splitlines() if line[0].isdigit()} - {"5"}
    assert {line.partition(";")[0] for line in restored} == (kept or everything)
    assert "--single-transaction --exit-on-error" in (tmp_path / "asked").read_text()
