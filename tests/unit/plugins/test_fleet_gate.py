"""What a fleet does from its begin to its end: what it records and resumes, what customers met, how long it watches, and what it says."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_bake, _fleet_record
from ansible_collections.barberpro.platform.plugins.modules import fleet_gate

from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request
from tests.support.modules import call

MAP = "/api/v1/namespaces/barberpro-system/configmaps"
PROXY = "GET /api/v1/namespaces/barberpro-monitoring/services/prometheus-operated:9090/proxy/api/v1/query"


class Cluster:
    """The stand-in as a cluster that keeps ConfigMaps and has a Prometheus."""

    def __init__(self, api: StandIn) -> None:
        self.api, self.maps, self.met, self.name, self.begun = api, {}, {}, "", "f1"
        # The windows of seconds that Prometheus was asked for, and what customers met in those of at most so many seconds.
        self.windows, self.newer = [], (0, {})
        api.answers[f"GET {MAP}"] = lambda _request: {"items": list(self.maps.values()), "metadata": {}}
        api.answers[f"POST {MAP}"] = self.create
        api.answers[PROXY] = self.prometheus

    def next(self, name: str) -> None:
        """The next fleet that begins has this name."""
        self.name = name

    def create(self, request: Request) -> Reply:
        name = request.body["metadata"]["name"]
        if name in self.maps:
            return Reply(409, {"kind": "Status", "message": f'configmaps "{name}" already exists', "reason": "AlreadyExists", "code": 409})
        self.api.answers[f"PATCH {MAP}/{name}"] = self.put
        return Reply(201, self.put(request).body)

    def put(self, request: Request) -> Reply:
        name = request.body["metadata"]["name"]
        self.maps[name] = self.api.answers[f"GET {MAP}/{name}"] = request.body
        return Reply(200, request.body)

    def prometheus(self, request: Request) -> dict[str, Any]:
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        assert query.startswith('sum by (namespace, revision) (increase(barberpro_http_request_duration_seconds_count{namespace=~"tenant-.+"')
        place = 1 if 'status=~"5.."' in query else 0
        self.windows.append(int(query.rpartition("[")[2].partition("s]")[0]))
        result = [
            {"metric": {"namespace": f"tenant-{name}", "revision": revision}, "value": [0, str(figures[place])]}
            for (name, revision), figures in (self.newer[1] if self.windows[-1] <= self.newer[0] else self.met).items() if figures[place]
        ]
        return {"status": "success", "data": {"result": result}}


class Server:
    """The clock of the API server, years from the runner's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime.datetime(2029, 5, 10, 12, tzinfo=datetime.UTC).timestamp()
        monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda _handler, _at=None: formatdate(self.now, usegmt=True))


@pytest.fixture
def cluster(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster(api)
    monkeypatch.setattr(_fleet_record, "new_name", lambda _now: found.name)
    found.next("f1")
    return found


def gate(cluster: Cluster, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Ask the module, of the fleet that began last unless told otherwise."""
    asked = {"kubeconfig": cluster.api.kubeconfig, "state": state, "tenants": ["a", "b", "c"], "release": "r", "fleet": cluster.begun, **options}
    result = call(fleet_gate, asked, check=check)
    if state == "begun":
        cluster.begun = result.get("fleet", cluster.begun)
    return result


def outcome(tenant: str, result: str = "succeeded", error: str = "") -> dict[str, Any]:
    return {"tenant": tenant, "result": result, "revision": "r2", "error": error}


def test_a_fleet_from_begin_to_end(cluster: Cluster, tmp_path: Path) -> None:
    begun = gate(cluster, "begun")
    assert (begun["fleet"], begun["done"], begun["changed"]) == ("f1", [], False)
    cluster.met = {("a", "r2"): (400.0, 0.0), ("b", "r1"): (400.0, 300.0)}
    judged = gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "unchanged")])
    assert judged["stop"] is False
    assert judged["summary"].startswith("fleet f1: 2 of 3 tenants done, 0 went wrong (evidence against the release 0.")
    cluster.met[("a", "r2")] = (400.0, 300.0)
    done = [outcome("a"), outcome("b", "unchanged"), outcome("c", "rolled_back", "stage testing failed")]
    ended = gate(cluster, "ended", outcomes=done, path=str(tmp_path))
    assert ended["verdict"]["wrong"] == {"a": "300 of 400 requests to r2 ended in a server error", "c": "stage testing failed"}
    assert ended["summary"].endswith("2 went wrong (a, c); see their reports, correct what is wrong and deploy them again with --limit")
    kept = json.loads(cluster.maps["fleet-f1"]["data"]["fleet.json"])
    assert (kept["result"], kept["untouched"], kept["release"]) == ("failed", [], "r")
    assert json.loads(Path(ended["files"][0]).read_text()) == kept
    page = Path(ended["files"][1]).read_text()
    assert "300 of 400 requests to r2 ended in a server error" in page


def test_fleets_that_begin_in_the_same_second_have_records_of_their_own(cluster: Cluster) -> None:
    """As the slices of one job of AWX do."""
    first = gate(cluster, "begun", tenants=["a"], release="r1")
    second = gate(cluster, "begun", tenants=["b"], release="r2")
    assert (first["fleet"], second["fleet"]) == ("f1", "f1-2")
    gate(cluster, "judged", fleet="f1-2", tenants=["b"], outcomes=[outcome("b", "failed", "no image")])
    kept = {name: json.loads(item["data"]["fleet.json"]) for name, item in cluster.maps.items()}
    assert {name: (item["fleet"], item["release"], len(item["tenants"])) for name, item in kept.items()} == {
        "fleet-f1": ("f1", "r1", 0), "fleet-f1-2": ("f1-2", "r2", 1),
    }


def test_a_stop_says_who_was_not_touched(cluster: Cluster, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    gate(cluster, "begun", tenants=names)
    bad = [outcome(name, "failed", "no image") for name in "abc"]
    assert gate(cluster, "judged", outcomes=bad, tenants=names)["stop"] is True
    ended = gate(cluster, "ended", outcomes=bad, tenants=names, path=str(tmp_path))
    assert "; 1 not touched; correct the release and deploy again. First seen in a: no image" in ended["summary"]
    kept = json.loads(cluster.maps["fleet-f1"]["data"]["fleet.json"])
    assert (kept["result"], kept["untouched"]) == ("stopped", ["d"])
    assert "Not touched" in Path(ended["files"][1]).read_text()


def test_a_fleet_is_resumed_with_the_same_release_only(cluster: Cluster) -> None:
    gate(cluster, "begun")
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    assert gate(cluster, "begun", resume="f1")["done"] == ["a"]
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    said = gate(cluster, "begun", resume="f1", release="other")["msg"]
    assert said == "fleet f1 deployed other images (r, now other), so its tenants are not done; run without fleet_resume"
    said = gate(cluster, "begun", resume="f0")["msg"]
    assert said == "fleet_resume names fleet 'f0', and barberpro-system has no record of it; there are f1, f1-2"


def test_a_resumed_fleet_knows_all_that_was_done_before(cluster: Cluster, tmp_path: Path) -> None:
    """Three runs of one release: tenants that the first did are done for the third, and each failure counts once, though the tenant is well since."""
    names = [f"t{number}" for number in range(1, 9)]
    gate(cluster, "begun", tenants=names)
    gate(cluster, "judged", tenants=names, outcomes=[outcome("t1"), outcome("t2", "failed", "no image"), outcome("t3", "unchanged")])
    cluster.next("f2")
    assert gate(cluster, "begun", tenants=names, resume="f1")["done"] == ["t1", "t3"]
    cluster.met = {("t1", "r2"): (400.0, 300.0)}
    second = [outcome("t2"), outcome("t4", "rolled_back", "stage testing failed")]
    judged = gate(cluster, "judged", fleet="f2", tenants=names, outcomes=second)
    assert judged["verdict"]["wrong"] == {"t1": "300 of 400 requests to r2 ended in a server error", "t4": "stage testing failed"}
    assert judged["verdict"]["earlier"] == {"t2": "no image"}
    assert judged["summary"].startswith("fleet f2 stopped after 4 of 8 tenants: 3 of 3 tenants went wrong (1 of them in an earlier run), more")
    assert judged["summary"].endswith("First seen in t1: 300 of 400 requests to r2 ended in a server error")
    cluster.next("f3")
    refused = gate(cluster, "begun", tenants=names, resume="f2")["msg"]
    assert refused.startswith("fleet f2 cannot go on with the same release: 3 of 3 tenants went wrong (1 of them in an earlier run), more than")
    assert refused.endswith("name whom it hit in fleet_excused (of t1, t2, t4)")
    begun = gate(cluster, "begun", tenants=names, resume="f2", excused=["t2", "t4"])
    assert begun["done"] == ["t1", "t2", "t3"]
    third = [outcome(name) for name in names[3:]]
    ended = gate(cluster, "ended", fleet="f3", tenants=names, outcomes=third, path=str(tmp_path))
    assert (ended["verdict"]["counted"], list(ended["verdict"]["wrong"]), ended["verdict"]["earlier"]) == (7, ["t1"], {})
    assert ended["summary"].startswith("fleet f3: 8 of 8 tenants done, 1 went wrong (t1); see")


def test_a_failure_of_an_earlier_run_is_said_at_the_end(cluster: Cluster, tmp_path: Path) -> None:
    gate(cluster, "begun")
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    gate(cluster, "begun", resume="f1")
    ended = gate(cluster, "ended", outcomes=[outcome("b"), outcome("c")], path=str(tmp_path))
    assert ended["summary"] == "fleet f1-2: 3 of 3 tenants done, 0 went wrong (b in an earlier run only)"
    assert json.loads(Path(ended["files"][0]).read_text())["result"] == "succeeded"
    assert "<h2>Went wrong in an earlier run</h2>" in Path(ended["files"][1]).read_text()


def test_the_failure_budget_is_one_for_all_runs_of_a_release(cluster: Cluster) -> None:
    names = [f"t{number}" for number in range(40)]
    asked = {"tenants": names, "failure_budget": "1"}
    good = [outcome(name) for name in names[2:30]]
    gate(cluster, "begun", **asked)
    gate(cluster, "judged", outcomes=[outcome("t0", "failed", "no image"), *good], **asked)
    gate(cluster, "begun", resume="f1", **asked)
    judged = gate(cluster, "judged", outcomes=[outcome("t0"), outcome("t1", "failed", "no image")], **asked)
    assert judged["verdict"]["reason"] == "2 tenants went wrong (1 of them in an earlier run) and the failure budget of 40 is 1"


def test_a_tenant_whose_settings_have_changed_is_not_done(cluster: Cluster) -> None:
    """Nor does its failure under the old ones say anything about the new ones."""
    gate(cluster, "begun", settings={"a": "1", "b": "1", "c": "1"})
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b"), outcome("c", "failed", "no such tier")])
    begun = gate(cluster, "begun", resume="f1", settings={"a": "1", "b": "2", "c": "2"})
    assert begun["done"] == ["a"]
    judged = gate(cluster, "judged", outcomes=[outcome("b"), outcome("c")])
    assert (judged["verdict"]["counted"], judged["verdict"]["earlier"], judged["verdict"]["wrong"]) == (3, {}, {})


def test_whom_nothing_has_happened_to_cannot_be_excused(cluster: Cluster) -> None:
    gate(cluster, "begun")
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    said = gate(cluster, "begun", resume="f1", excused=["a"])["msg"]
    assert said == "fleet_excused names a, and in fleet f1 none of that name went wrong: there went wrong b"
    said = gate(cluster, "begun", excused=["a"])["msg"]
    assert said == "fleet_excused names a, and no fleet is resumed; name it in fleet_resume, or leave it out"


def test_what_customers_met_is_not_forgotten_when_prometheus_is_away(cluster: Cluster) -> None:
    gate(cluster, "begun")
    cluster.met = {("a", "r2"): (400.0, 300.0)}
    gate(cluster, "judged", outcomes=[outcome("a")])
    del cluster.api.answers[PROXY]
    judged = gate(cluster, "judged", outcomes=[outcome("a"), outcome("b")])
    assert judged["warnings"][0].startswith("what customers met is not known")
    assert list(judged["verdict"]["wrong"]) == ["a"]


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("seconds", "stops_at", "pauses"), [(0, None, []), (40, None, [15, 15, 10]), (40, 2, [15]), (40, 1, [])])
def test_a_wave_is_watched_for_its_bake_time_or_until_it_stops(seconds: float, stops_at: int | None, pauses: list[float]) -> None:
    clock, looks = Clock(), itertools.count(1)

    def look() -> dict[str, Any]:
        return {"verdict": {"stop": next(looks) == stops_at}}

    found = _fleet_bake.watched(look, seconds, clock=clock, pause=clock.pause)
    assert clock.pauses == pauses
    assert found["verdict"]["stop"] is (stops_at is not None)


def test_new_revisions_are_watched_before_the_next_wave(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[float] = []
    names = [f"t{number}" for number in range(1, 8)]

    def at_once(look: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
        watched.append(seconds)
        # The outcomes are in the cluster before anybody waits.
        assert json.loads(cluster.maps["fleet-f1"]["data"]["fleet.json"])["tenants"]
        cluster.met = {(name, "r2"): (400.0, 300.0) for name in ("t1", "t2", "t3")}
        return look()

    monkeypatch.setattr(_fleet_bake, "watched", at_once)
    asked = {"tenants": names, "bake_seconds": 60}
    gate(cluster, "begun", **asked)
    assert gate(cluster, "judged", **asked)["stop"] is False
    assert gate(cluster, "judged", outcomes=[outcome("t6", "rolled_back"), outcome("t7", "unchanged")], **asked)["stop"] is False
    assert watched == []
    wave = [outcome("t1"), outcome("t2"), outcome("t3")]
    judged = gate(cluster, "judged", outcomes=wave, **asked)
    assert (judged["stop"], watched) == (True, [60.0])
    cluster.met = {}
    # Once is enough, for who resumes it as well; and nothing is waited for when nobody comes after.
    gate(cluster, "judged", outcomes=wave, **asked)
    gate(cluster, "begun", resume="f1", **asked)
    gate(cluster, "judged", **asked)
    gate(cluster, "judged", outcomes=[outcome(name) for name in names], **asked)
    assert watched == [60.0]
    assert gate(cluster, "begun", bake_seconds=-1)["msg"] == "bake_seconds is -1; it must be a number of seconds, 0 for no bake time"


def test_a_dry_run_does_not_wait(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_fleet_bake, "watched")
    assert gate(cluster, "judged", check=True, outcomes=[outcome("a")], bake_seconds=60)["stop"] is False


def test_a_dry_run_writes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    assert gate(cluster, "begun", check=True)["fleet"] == "f1"
    assert gate(cluster, "judged", check=True, outcomes=[outcome("a")])["stop"] is False
    assert gate(cluster, "ended", check=True, outcomes=[outcome("a")], path=str(tmp_path))["files"] == []
    assert {request.method for request in cluster.api.log} <= {"GET"}
    assert not (tmp_path / "fleets").exists()


def test_prometheus_that_does_not_answer_is_said(cluster: Cluster) -> None:
    gate(cluster, "begun")
    del cluster.api.answers[PROXY]
    judged = gate(cluster, "judged", outcomes=[outcome("a")])
    assert judged["warnings"][0].startswith("what customers met is not known: Prometheus barberpro-monitoring/prometheus-operated does not answer")
    assert judged["stop"] is False


def test_old_records_go(cluster: Cluster) -> None:
    for number in range(10):
        name = f"fleet-e{number}"
        cluster.maps[name] = {"metadata": {"name": name}}
        cluster.api.answers[f"DELETE {MAP}/{name}"] = {}
    gate(cluster, "begun")
    assert [request.path for request in cluster.api.log if request.method == "DELETE"] == [f"{MAP}/fleet-e0"]


def test_records_of_fleets_that_may_be_at_work_stay(cluster: Cluster) -> None:
    """A job of AWX may have more slices than records are kept."""
    begun = [gate(cluster, "begun")["fleet"] for _number in range(11)]
    assert begun[-1] == "f1-11"
    assert [request.path for request in cluster.api.log if request.method == "DELETE"] == []
    cluster.api.answers[f"DELETE {MAP}/fleet-f1"] = {}
    gate(cluster, "ended", fleet="f1", outcomes=[outcome("a")])
    assert [request.path for request in cluster.api.log if request.method == "DELETE"] == [f"{MAP}/fleet-f1"]


def test_a_report_that_cannot_be_written(cluster: Cluster, tmp_path: Path) -> None:
    gate(cluster, "begun")
    (tmp_path / "fleets").write_text("a file where a folder should be")
    said = gate(cluster, "ended", outcomes=[outcome("a")], path=str(tmp_path))["msg"]
    assert said.startswith("the report of the fleet cannot be written: ")
    assert said.endswith("; its record is ConfigMap fleet-f1")


def customers(*names: str, errors: float = 300.0) -> dict[tuple[str, str], tuple[float, float]]:
    return {(name, "r2"): (400.0, errors) for name in names}


def test_whose_customers_met_errors_can_be_excused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet goes on, and only what customers meet from then on counts."""
    names, clock = [f"t{number}" for number in range(1, 7)], Server(monkeypatch)
    bad, rest = [outcome(name) for name in names[:3]], [outcome(name) for name in names[3:]]
    gate(cluster, "begun", tenants=names)
    clock.now += 600
    cluster.met = customers("t1", "t2", "t3")
    assert gate(cluster, "judged", tenants=names, outcomes=bad)["stop"] is True
    refused = gate(cluster, "begun", tenants=names, resume="f1")["msg"]
    assert refused.endswith("name whom it hit in fleet_excused (of t1, t2, t3)")
    refused = gate(cluster, "begun", tenants=names, resume="f1", excused=["t1"], failure_budget="1")["msg"]
    assert "2 tenants went wrong and the failure budget of 6 is 1; deploy" in refused
    assert refused.endswith("name whom it hit in fleet_excused (of t2, t3)")
    assert gate(cluster, "begun", tenants=names, resume="f1", excused=["t1", "t2", "t3"])["done"] == ["t1", "t2", "t3"]
    judged = gate(cluster, "judged", tenants=names)
    assert (judged["stop"], judged["verdict"]["wrong"], judged["verdict"]["counted"]) == (False, {}, 3)
    clock.now += 120
    cluster.newer = (150, customers("t2"))
    judged = gate(cluster, "judged", tenants=names, outcomes=rest)
    assert judged["verdict"]["wrong"] == {"t2": "300 of 400 requests to r2 ended in a server error"}
    # Who resumes that one does not have them held against the release again either.
    gate(cluster, "begun", tenants=names, resume="f1-2")
    assert list(gate(cluster, "judged", tenants=names)["verdict"]["wrong"]) == ["t2"]


def test_a_run_on_fewer_tenants_forgets_no_failure(cluster: Cluster) -> None:
    names = [f"t{number}" for number in range(40)]
    settings = {name: f"hash of {name}" for name in names}
    failed = [outcome(name, "failed", "no image") for name in names[:3]]
    gate(cluster, "begun", tenants=names, settings=settings)
    gate(cluster, "judged", tenants=names, outcomes=[*[outcome(name) for name in names[3:30]], *failed])
    narrow = {"tenants": ["t0", "t30"], "settings": {"t0": "another", "t30": settings["t30"]}}
    begun = gate(cluster, "begun", resume="f1", **narrow)
    assert begun["done"] == sorted(names[3:30])
    judged = gate(cluster, "judged", outcomes=[outcome("t0"), outcome("t30")], **narrow)
    assert judged["verdict"]["wrong"] == {"t1": "no image", "t2": "no image"}
    figures = {name: judged["verdict"][name] for name in ("counted", "tried", "total", "failure_budget")}
    assert figures == {"counted": 31, "tried": 2, "total": 2, "failure_budget": 3}


def test_times_are_those_of_the_server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Server(monkeypatch)
    monkeypatch.setattr(_fleet_record, "new_name", lambda now: now.strftime("%Y%m%dt%H%M%Sz"))
    assert gate(cluster, "begun")["fleet"] == "20290510t120000z"
    clock.now += 600
    gate(cluster, "ended", outcomes=[outcome("a")], path=str(tmp_path))
    kept = json.loads(cluster.maps["fleet-20290510t120000z"]["data"]["fleet.json"])
    assert (kept["began"][:19], kept["ended"][:19]) == ("2029-05-10T12:00:00", "2029-05-10T12:10:00")
    assert 595 < cluster.windows[-1] < 605
