"""The module rehearsal: its pod is always removed, and what the containers say becomes statements, findings and failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.modules import rehearsal

from tests.support import modules
from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request

PODS, SECRETS = "/api/v1/namespaces/barberpro-preflight/pods", "/api/v1/namespaces/barberpro-preflight/secrets"
POD, SECRET = f"{PODS}/rehearsal-x", f"{SECRETS}/rehearsal-x"
STATEMENTS = [{"sql": "ALTER TABLE a ADD b text", "rows": [[]]}, {"sql": "DROP TABLE old", "rows": [[]]}]
COMMAND = ["python", "-m", "shop.rehearse"]
DATABASE = {"host": "db", "port": "5432", "dbname": "barberpro", "schema": "x_1", "sslmode": "require", "user": "x_1_owner", "password": "secret-canary"}


class Cluster:
    """A cluster in which the pod runs and its containers say what a test wants."""

    def __init__(self, api: StandIn) -> None:
        self.api, self.made, self.deleted, self.looks = api, {}, [], 0
        self.said: dict[str, Any] = {
            "prepare-booking": {"service": "b", "command": "prepare", "head": "0001"},
            "prepare-walk-in": {"service": "w", "command": "prepare", "head": "0001"},
            "capture-booking": {"service": "b", "command": "capture", "head": "0002", "statements": STATEMENTS},
            "check-booking": {"service": "b", "command": "check", "statements": 2, "broken": None},
            "check-walk-in": {"service": "w", "command": "check", "statements": 2, "broken": None},
        }
        self.logs: dict[str, str] = {}
        self.phase = "Succeeded"
        self.left: list[dict[str, Any]] = []
        for path in (PODS, SECRETS):
            api.answers[f"POST {path}"] = self.create
            api.answers[f"GET {path}"] = lambda request: Reply(200, {"items": self.left if "/pods" in request.path else []})
        for path in (POD, SECRET):
            api.answers[f"DELETE {path}"] = self.delete
        api.answers[f"GET {POD}"] = self.look
        api.answers[f"GET {POD}/log"] = self.log

    def create(self, request: Request) -> Reply:
        self.made[request.body["kind"]] = request.body
        return Reply(201, request.body)

    def delete(self, request: Request) -> Reply:
        self.deleted.append(request.path.partition("?")[0])
        self.left = []
        return Reply(200, {})

    def look(self, _request: Request) -> Any:
        self.looks += 1
        if "Pod" not in self.made or self.phase == "gone":
            return None
        ended = [{"name": name, "state": {"terminated": {"exitCode": 0}}} for name in self.said]
        status = {"phase": "Pending"} if self.looks == 1 else {"phase": self.phase, "initContainerStatuses": ended[:-1], "containerStatuses": ended[-1:]}
        return {**self.made["Pod"], "status": status}

    def log(self, request: Request) -> Reply:
        name = request.path.rpartition("container=")[2]
        return Reply(200, self.logs.get(name, "warming up\n" + json.dumps({"rehearsal": self.said[name]}) + "\n"))


@pytest.fixture
def cluster(api: StandIn) -> Cluster:
    return Cluster(api)


def rehearse(cluster: Cluster, *, check: bool = False, **more: Any) -> dict[str, Any]:
    services = [
        {"name": "booking", "command": COMMAND, "old": "r/b@sha256:1", "new": "r/b:2", "migrates": True},
        {"name": "walk_in", "command": COMMAND, "old": "r/w:1", "new": "r/w:1", "migrates": False},
    ]
    asked = {"name": "x", "serving": 3, "services": services, "database": DATABASE, "role": "x_1_app", "kubeconfig": cluster.api.kubeconfig, **more}
    return modules.call(rehearsal, asked, check=check)


def test_all_is_well_and_nothing_is_left(cluster: Cluster) -> None:
    found = rehearse(cluster)
    assert not found.get("failed"), found
    assert found["failures"] == []
    assert found["statements"] == [
        {"service": "booking", "sql": "ALTER TABLE a ADD b text", "loses": ""}, {"service": "booking", "sql": "DROP TABLE old", "loses": "drops a table"},
    ]
    assert found["losing"] == found["statements"][1:]
    assert (found["broken"], found["findings"], found["serving"], found["changed"], found["tried"]) == ([], [], 3, False, ["booking"])
    assert cluster.deleted == [POD, SECRET]
    assert "secret-canary" not in json.dumps(found)


def test_the_pod_is_restricted_and_its_steps_are_in_order(cluster: Cluster) -> None:
    rehearse(cluster)
    spec = cluster.made["Pod"]["spec"]
    assert [step["name"] for step in [*spec["initContainers"], *spec["containers"]]] == list(cluster.said)
    assert [step["image"] for step in spec["initContainers"][:3]] == ["r/b@sha256:1", "r/w:1", "r/b:2"]
    assert spec["initContainers"][2]["command"] == [*COMMAND, "capture", "/rehearsal/booking.json"]
    assert spec["containers"][0]["command"] == [*COMMAND, "check", "/rehearsal/booking.json", "--role", "x_1_app"]
    assert [step["imagePullPolicy"] for step in spec["initContainers"][:2]] == ["IfNotPresent", "Always"]
    assert spec["automountServiceAccountToken"] is False
    assert "secret-canary" not in json.dumps(cluster.made["Pod"])
    assert cluster.made["Pod"]["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "barberpro.platform", "barberpro.platform/rehearsal": "x", "barberpro.platform/database": "true",
    }


def test_what_breaks_and_what_fails_is_returned(cluster: Cluster) -> None:
    broken = {"statement": "DROP TABLE old", "number": 1, "query": "read", "reason": "gone"}
    cluster.said["check-walk-in"]["broken"] = broken
    assert rehearse(cluster)["broken"] == [{"service": "walk_in", **broken}]
    cluster.said = {"capture-booking": {"service": "b", "command": "capture", "error": "no"}}
    cluster.phase = "Failed"
    found = rehearse(cluster)
    assert found["failures"] == [{"service": "booking", "step": "capture", "reason": "no"}]


def test_in_check_mode_nothing_is_made(cluster: Cluster) -> None:
    assert rehearse(cluster, check=True)["statements"] == []
    assert cluster.made == {}


def test_what_a_killed_one_has_left_goes_first(cluster: Cluster) -> None:
    cluster.left = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rehearsal-x", "namespace": "barberpro-preflight"}}]
    assert rehearse(cluster)["broken"] == []
    assert cluster.deleted == [POD, POD, SECRET]


@pytest.mark.parametrize(
    ("phase", "logs", "sentence"),
    [
        ("Failed", {"prepare-booking": "no module named rehearse"}, "container prepare-booking ended with code 0: no module named rehearse"),
        ("gone", {}, "the migrations could not be rehearsed: Pod barberpro-preflight/rehearsal-x was removed while it ran; run again"),
        ("Running", {}, "the migrations could not be rehearsed within 1 s: Pod barberpro-preflight/rehearsal-x still runs"),
    ],
)
def test_a_rehearsal_that_cannot_be_done_says_why_and_leaves_nothing(cluster: Cluster, phase: str, logs: dict[str, str], sentence: str) -> None:
    cluster.phase, cluster.logs = phase, logs
    found = rehearse(cluster, wait_timeout=1)
    assert found["failed"] is True
    assert sentence in found["msg"]
    assert cluster.deleted == [POD, SECRET]
