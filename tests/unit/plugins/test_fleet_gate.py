"""When a release may go on through a fleet: the figures behind the rule, what customers met, and what is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import Rule, Tenant, e_value, judge, summary
from ansible_collections.barberpro.platform.plugins.modules import fleet_gate

from benchmarks.fleet_stop import chance_of_a_stop, critical
from tests.support.api_stand_in import StandIn
from tests.support.loopback import Reply, Request
from tests.support.modules import call

RULE = Rule(null_rate=0.05, alpha=0.01, failure_budget="10%", error_ratio=0.01, minimum_requests=50)
MAP = "/api/v1/namespaces/barberpro-system/configmaps"
PROXY = "GET /api/v1/namespaces/barberpro-monitoring/services/prometheus-operated:9090/proxy/api/v1/query"


def tenants(bad: int, good: int) -> list[Tenant]:
    found = [Tenant(f"bad-{number}", "rolled_back", "r2", "stage testing failed") for number in range(bad)]
    return found + [Tenant(f"good-{number}", "succeeded", "r2") for number in range(good)]


@pytest.mark.parametrize(("wrong", "tried"), [(0, 1), (1, 1), (2, 3), (5, 40), (0, 1000), (90, 1000)])
def test_the_evidence_is_the_mean_likelihood_ratio_of_all_higher_rates(wrong: int, tried: int) -> None:
    steps = 200_000
    width = 0.95 / steps
    rates = (0.05 + width * (place + 0.5) for place in range(steps))
    null = wrong * math.log(0.05) + (tried - wrong) * math.log(0.95)
    mean = sum(math.exp(wrong * math.log(rate) + (tried - wrong) * math.log1p(-rate) - null) for rate in rates) * width / 0.95
    assert e_value(wrong, tried, 0.05) == pytest.approx(mean, rel=1e-4)


def test_evidence_that_no_float_holds() -> None:
    assert e_value(0, 100_000, 0.5) == 0.0
    assert e_value(5_000, 5_000, 0.01) == pytest.approx(math.exp(700))


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_a_good_release_is_stopped_with_less_than_one_percent(rate: float) -> None:
    assert chance_of_a_stop(rate, RULE, 300, [1] * 300)["stopped"] < 0.01


def test_a_bad_release_meets_ten_tenants_at_most() -> None:
    found = chance_of_a_stop(0.9, RULE, 1000, [1, 2, 3, 4, 10, 25, 50, 100])
    assert found["within_ten"] > 0.999
    assert found["mean_tried"] < 5


def test_the_evidence_grows_with_each_tenant_that_goes_wrong() -> None:
    limits = critical(RULE, 50)
    for tried, least in enumerate(limits, start=1):
        assert least > tried or e_value(least, tried, 0.05) >= 100 > e_value(least - 1, tried, 0.05)


def test_one_that_goes_wrong_does_not_stop_a_fleet_and_two_of_two_do() -> None:
    assert judge(RULE, tenants(1, 0), 40)["stop"] is False
    verdict = judge(RULE, tenants(2, 0), 40)
    assert verdict["stop"] is True
    assert verdict["reason"] == "2 of 2 tenants went wrong, more than a good release (at most 5%) explains: evidence 140, limit 100"
    assert summary("f1", verdict, untouched=38) == (
        f"fleet f1 stopped after 2 of 40 tenants: {verdict['reason']}; 38 not touched; correct the release and deploy again. "
        "First seen in bad-0: stage testing failed"
    )


def test_the_failure_budget() -> None:
    strict = Rule(0.05, 0.01, "0", 0.01, 50)
    assert judge(strict, tenants(1, 30), 40)["reason"] == "1 tenant went wrong and the failure budget of 40 is 0"
    assert (RULE.budget(12), RULE.budget(1000), strict.budget(1000)) == (3, 100, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"null_rate": 0.0}, "null_rate is 0.0; it must be a share between 0 and 1, for example 0.05"),
        ({"alpha": 1.5}, "alpha is 1.5; it must be"),
        ({"failure_budget": "many"}, "failure_budget is 'many'; it must be a number of tenants (5) or a share of the fleet (10%)"),
        ({"failure_budget": "101%"}, "failure_budget is '101%'"),
        ({"failure_budget": "-1"}, "failure_budget is '-1'"),
    ],
)
def test_a_rule_that_cannot_be(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Rule(**{**vars(RULE), **changed})
    assert caught.value.message.startswith(said)


def test_what_customers_met_counts_when_they_were_enough() -> None:
    assert Tenant("a", "succeeded", "r2", requests=49, errors=49).wrong(RULE) == ""
    assert Tenant("a", "succeeded", "r2", requests=100, errors=1).wrong(RULE) == ""
    assert Tenant("a", "succeeded", "r2", requests=100, errors=2).wrong(RULE) == "2 of 100 requests to r2 ended in a server error"


def test_the_last_sentence_names_who_went_wrong() -> None:
    verdict = judge(RULE, tenants(7, 193), 200)
    assert summary("f1", verdict, ended=True) == (
        "fleet f1: 200 of 200 tenants done, 7 went wrong (bad-0, bad-1, bad-2, bad-3, bad-4 and 2 more); "
        "see their reports, correct what is wrong and deploy them again with --limit"
    )
    assert summary("f1", judge(RULE, tenants(0, 200), 200), ended=True) == "fleet f1: 200 of 200 tenants done, 0 went wrong"


class Cluster:
    """The stand-in as a cluster that keeps ConfigMaps and has a Prometheus."""

    def __init__(self, api: StandIn) -> None:
        self.api, self.maps, self.met = api, {}, {}
        api.answers[f"GET {MAP}"] = lambda _request: {"items": list(self.maps.values()), "metadata": {}}
        api.answers[PROXY] = self.prometheus

    def keep(self, name: str) -> None:
        def put(request: Request) -> Reply:
            self.maps[name] = request.body
            self.api.answers[f"GET {MAP}/{name}"] = self.maps[name]
            return Reply(200, self.maps[name])

        self.api.answers[f"PATCH {MAP}/{name}"] = put

    def prometheus(self, request: Request) -> dict[str, Any]:
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        assert query.startswith('sum by (namespace, revision) (increase(barberpro_http_request_duration_seconds_count{namespace=~"tenant-.+"')
        place = 1 if 'status=~"5.."' in query else 0
        result = [
            {"metric": {"namespace": f"tenant-{name}", "revision": revision}, "value": [0, str(figures[place])]}
            for (name, revision), figures in self.met.items() if figures[place]
        ]
        return {"status": "success", "data": {"result": result}}


@pytest.fixture
def cluster(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    from ansible_collections.barberpro.platform.plugins.module_utils import _fleet_record

    monkeypatch.setattr(_fleet_record, "new_name", lambda _now: "f1")
    found = Cluster(api)
    found.keep("fleet-f1")
    return found


def gate(cluster: Cluster, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    asked = {"kubeconfig": cluster.api.kubeconfig, "state": state, "tenants": ["a", "b", "c"], "release": "r", "fleet": "f1", **options}
    return call(fleet_gate, asked, check=check)


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


def test_a_stop_says_who_was_not_touched(cluster: Cluster, tmp_path: Path) -> None:
    gate(cluster, "begun")
    bad = [outcome("a", "failed", "no image"), outcome("b", "failed", "no image")]
    assert gate(cluster, "judged", outcomes=bad)["stop"] is True
    ended = gate(cluster, "ended", outcomes=bad, path=str(tmp_path))
    assert "; 1 not touched; correct the release and deploy again. First seen in a: no image" in ended["summary"]
    kept = json.loads(cluster.maps["fleet-f1"]["data"]["fleet.json"])
    assert (kept["result"], kept["untouched"]) == ("stopped", ["c"])
    assert "Not touched" in Path(ended["files"][1]).read_text()


def test_a_fleet_is_resumed_with_the_same_release_only(cluster: Cluster) -> None:
    gate(cluster, "begun")
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    assert gate(cluster, "begun", resume="f1")["done"] == ["a"]
    gate(cluster, "judged", outcomes=[outcome("a"), outcome("b", "failed", "no image")])
    said = gate(cluster, "begun", resume="f1", release="other")["msg"]
    assert said == "fleet f1 deployed other images or settings (r, now other), so its tenants are not done; run without fleet_resume"
    said = gate(cluster, "begun", resume="f0")["msg"]
    assert said == "fleet_resume names fleet 'f0', and barberpro-system has no record of it; there are f1"


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


def test_a_report_that_cannot_be_written(cluster: Cluster, tmp_path: Path) -> None:
    gate(cluster, "begun")
    (tmp_path / "fleets").write_text("a file where a folder should be")
    said = gate(cluster, "ended", outcomes=[outcome("a")], path=str(tmp_path))["msg"]
    assert said.startswith("the report of the fleet cannot be written: ")
    assert said.endswith("; its record is ConfigMap fleet-f1")
