"""Port-forward and service proxy against the API server's stand-in; the settings module on top of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import websocket
from ansible_collections.barberpro.platform.plugins.module_utils import _access
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._settings import differences
from ansible_collections.barberpro.platform.plugins.modules import settings

from tests.support import modules
from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.loopback import Reply, Request

PODS = "/api/v1/namespaces/ns/pods"


def test_a_request_goes_through_the_port_forward(api: StandIn, stand_in_client: Client) -> None:
    api.pods = lambda request: Reply(200, {"seen": request.body, "big": "x" * 100_000})
    answer = _access.pod_request(stand_in_client, "ns", "pod", 9090, "PUT", "/admin/settings", {"a": 1}, {"Authorization": "Bearer x"})
    assert answer.status == 200
    assert answer.json()["seen"] == {"a": 1}
    assert len(answer.body) > 100_000
    request = api.log[-1]
    assert (request.method, request.path, request.headers["authorization"]) == ("PUT", "/admin/settings", "Bearer x")


def test_what_can_go_wrong_with_a_port_forward(api: StandIn, stand_in_client: Client) -> None:
    api.broken = "dial tcp4 127.0.0.1:9090: connect: connection refused"
    with pytest.raises(_access.AccessError) as caught:
        _access.pod_request(stand_in_client, "ns", "pod", 9090, "GET", "/x")
    assert caught.value.message == f"GET /x on port 9090 of Pod ns/pod: {api.broken}; check that the container listens there"
    api.refused = 403
    forbidden = r"port-forward to Pod ns/pod port 9090: HTTP 403 pods .* is forbidden; grant get and create on pods/portforward"
    with pytest.raises(_access.AccessError, match=forbidden):
        _access.pod_request(stand_in_client, "ns", "pod", 9090, "GET", "/x")
    gone = Client(mock.Mock(server="http://127.0.0.1:1", tls=None, token=lambda: None, server_name=None), outage_timeout=0)
    with pytest.raises(_access.AccessError, match="Connection refused; check that the API server and the node's kubelet run"):
        _access.pod_request(gone, "ns", "pod", 9090, "GET", "/x")
    with mock.patch.dict(sys.modules, {"websocket": None}), pytest.raises(_access.AccessError, match="the Python package websocket-client is needed"):
        _access.pod_request(stand_in_client, "ns", "pod", 9090, "GET", "/x")


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Let so many port-forwards fail before the next one is opened; returns what is tried."""

    def prepare(times: int) -> list[str]:
        tried: list[str] = []
        create = websocket.create_connection

        def connect(url: str, **options: Any) -> Any:
            tried.append(url)
            if len(tried) <= times:
                raise websocket.WebSocketConnectionClosedException("Connection to remote host was lost.")
            return create(url, **options)

        monkeypatch.setattr(websocket, "create_connection", connect)
        monkeypatch.setattr(_access, "OUTAGE_PAUSE", 0.0)
        return tried

    return prepare


def test_an_api_server_that_is_away_is_waited_for(api: StandIn, stand_in_client: Client, cut: Callable[[int], list[str]]) -> None:
    api.pods = lambda _request: Reply(200, {})
    tried = cut(4)
    with mock.patch.object(stand_in_client, "is_away", side_effect=[True, True, True, False]):
        assert _access.pod_request(stand_in_client, "ns", "pod", 9090, "POST", "/x").status == 200
    assert len(tried) == 5


def test_what_fails_although_the_api_server_answers_is_tried_once_more(api: StandIn, stand_in_client: Client, cut: Callable[[int], list[str]]) -> None:
    api.answers["GET /readyz"] = Reply(200, {})
    tried = cut(9)
    with pytest.raises(_access.AccessError, match="Connection to remote host was lost"):
        _access.pod_request(stand_in_client, "ns", "pod", 9090, "GET", "/x")
    assert len(tried) == 2


@pytest.mark.parametrize(("method", "requests"), [("GET", 2), ("POST", 1)])
def test_a_request_that_an_outage_cuts_off_is_sent_again_where_that_is_harmless(
    api: StandIn, stand_in_client: Client, method: str, requests: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_access, "OUTAGE_PAUSE", 0.0)
    api.broken = "lost"
    opened: list[int] = []
    real = _access.open_tunnel

    def opening(*words: Any) -> Any:
        opened.append(1)
        if len(opened) == 2:
            api.broken = ""
        return real(*words)

    api.pods = lambda _request: Reply(200, {})
    with mock.patch.object(_access, "open_tunnel", opening), mock.patch.object(stand_in_client, "is_away", return_value=True):
        if method == "GET":
            assert _access.pod_request(stand_in_client, "ns", "pod", 9090, method, "/x").status == 200
        else:
            with pytest.raises(_access.AccessError, match="lost"):
                _access.pod_request(stand_in_client, "ns", "pod", 9090, method, "/x")
    assert len(opened) == requests


def test_an_answer_that_is_no_json() -> None:
    with pytest.raises(_access.AccessError, match=re.escape("the answer (HTTP 500) is not JSON: 'oh no'; look at the service's log")):
        _access.Answer(500, {}, b"oh\nno").json()


def test_the_newest_ready_pod_is_taken(api: StandIn, stand_in_client: Client) -> None:
    resources = Resources(stand_in_client)
    going = ready_pod("going", "2026-03-01T00:00:00Z")
    going["metadata"]["deletionTimestamp"] = "2026-03-02T00:00:00Z"
    api.items(PODS, ready_pod("old"), ready_pod("new", "2026-02-01T00:00:00Z"), going, ready_pod("late", "2026-04-01T00:00:00Z", ready=False))
    assert _access.ready_pod(resources, "ns", "app=x") == "new"
    api.items(PODS, ready_pod("late", ready=False))
    with pytest.raises(_access.AccessError) as caught:
        _access.ready_pod(resources, "ns", "app=x")
    assert caught.value.message == "no ready pod with app=x in namespace ns: late is Running, not ready; see kubectl -n ns get pods -l app=x"
    api.items(PODS)
    with pytest.raises(_access.AccessError, match="no pod has these labels"):
        _access.ready_pod(resources, "ns", "app=x")


def test_service_proxy(api: StandIn, stand_in_client: Client) -> None:
    path = "/api/v1/namespaces/m/services/prom:9090/proxy/api/v1/query"
    api.answers[f"GET {path}"] = lambda request: {"asked": request.path.partition("?")[2]}
    assert _access.service_get(stand_in_client, "m", "prom", 9090, "/api/v1/query", {"query": "up"}) == {"asked": "query=up"}


WANTED: dict[str, Any] = {"name": "Barberia", "staff": [{"id": "a", "services": ["x"]}], "chairs": 3, "open": True}


class Service:
    """The admin API of a service."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        self.stored, self.writes, self.failure = stored, 0, Reply(0)
        self.paths: list[str] = []

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("authorization") != "Bearer t0p":
            return Reply(401)
        if self.failure.status:
            return self.failure
        if request.method == "PUT":
            self.paths.append(request.path)
            self.stored, self.writes = request.body, self.writes + 1
            return Reply(200, {"changed": True})
        return Reply(200, {"settings": self.stored or None, "etag": None})


@pytest.fixture
def service(api: StandIn) -> Service:
    """A pod with the admin API, and the Secret of its token."""
    api.items(PODS, ready_pod("booking-1"))
    api.answers["GET /api/v1/namespaces/ns/secrets/booking-admin"] = secret("ns", "booking-admin", token="t0p")
    found = Service()
    api.pods = found
    return found


@pytest.fixture
def converge(api: StandIn, service: Service) -> Callable[..., dict[str, Any]]:
    def call(wanted: dict[str, Any] | None = None, check: bool = False, **options: Any) -> dict[str, Any]:
        wanted = WANTED if wanted is None else wanted
        asked = {"kubeconfig": api.kubeconfig, "namespace": "ns", "selector": "app=booking", "settings": wanted, "wait_timeout": 0, **options}
        return modules.call(settings, asked, check=check, diff=True)

    return call


def test_a_pod_that_does_not_know_the_new_token_yet_gets_the_one_before(
    api: StandIn, service: Service, converge: Callable[..., dict[str, Any]]
) -> None:
    path = "GET /api/v1/namespaces/ns/secrets/booking-admin"
    api.answers[path] = secret("ns", "booking-admin", token="new", previous="t0p")
    assert converge()["changed"]
    assert service.writes == 1
    api.answers[path] = secret("ns", "booking-admin", token="new", previous="older")
    assert "HTTP 401" in converge()["msg"]


def test_settings_converge_and_stay(service: Service, converge: Callable[..., dict[str, Any]]) -> None:
    first = converge(check=True)
    assert first["changed"]
    assert service.writes == 0
    assert first["fields"] == ["name", "staff", "chairs", "open"]
    done = converge()
    assert done["changed"]
    assert (done["before"], done["pod"]) == ({}, "ns/booking-1")
    assert done["diff"]["after_header"] == "settings of ns/booking-1"
    again = converge()
    assert not again["changed"]
    assert service.writes == 1
    assert converge({**WANTED, "chairs": 2}, restore=True)["changed"]
    assert service.paths == ["/admin/settings", "/admin/settings?move_bookings=true"]


def test_settings_that_are_refused(service: Service, converge: Callable[..., dict[str, Any]]) -> None:
    service.stored = {"name": "old"}
    errors = [{"path": "staff[0].id", "message": "unknown"}, {"loc": ["body", "chairs"], "msg": "too many"}, "third"]
    refused = Reply(422, {"detail": "settings refused", "errors": errors})
    real = service.__class__.__call__
    with mock.patch.object(Service, "__call__", lambda self, request: refused if request.method == "PUT" else real(self, request)):
        found = converge()
    assert found["msg"] == "settings of ns/booking-1 are refused: staff[0].id: unknown; chairs: too many; third; correct them in the inventory"
    with mock.patch.object(Service, "__call__", lambda self, request: Reply(422, {"detail": "no"}) if request.method == "PUT" else real(self, request)):
        assert "are refused: no; correct them" in converge()["msg"]
    with mock.patch.object(Service, "__call__", lambda self, request: Reply(200, {}) if request.method == "PUT" else real(self, request)):
        assert "staff, chairs, open read back different from what was written; look at the service's log" in converge()["msg"]


def test_a_service_that_does_not_work(api: StandIn, service: Service, converge: Callable[..., dict[str, Any]]) -> None:
    service.failure = Reply(500, "boom")
    assert converge()["msg"] == "GET /admin/settings of Pod ns/booking-1: HTTP 500 'boom'; look at the service's log"
    service.failure = Reply(401)
    assert "HTTP 401; the token of its Secret is not the one it was started with" in converge()["msg"]
    service.failure = Reply(404)
    assert converge(check=True)["before"] == {}
    api.answers["GET /api/v1/namespaces/ns/secrets/booking-admin"] = secret("ns", "booking-admin")
    assert "Secret ns/booking-admin has no key token" in converge()["msg"]
    assert "Secret ns/none does not exist; the infrastructure stage makes it" in converge(token_secret="none")["msg"]


def test_a_dry_run_without_a_pod_says_that_the_settings_are_not_known(api: StandIn, converge: Callable[..., dict[str, Any]]) -> None:
    api.items(PODS)
    found = converge(check=True, wait_timeout=60)
    assert found["changed"]
    assert found["before"] == {}
    assert found["fields"] == ["name", "staff", "chairs", "open"]
    assert found["warnings"][0].startswith("What the service has now is not known, so all settings count as new: no ready pod with app=booking")
    assert "no ready pod with app=booking in namespace ns" in converge()["msg"]


def test_a_pod_that_comes_late_is_waited_for(api: StandIn, service: Service, converge: Callable[..., dict[str, Any]]) -> None:
    calls = []

    def pods(_request: Request) -> dict[str, Any]:
        calls.append(1)
        return {"items": [ready_pod("booking-1", ready=len(calls) > 2)]}

    api.answers[f"GET {PODS}"] = pods
    assert converge(wait_timeout=10)["changed"]
    # Twice in vain, once to read; to write, the pod is looked for anew: the one of a moment ago may have ended.
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("wanted", "seen", "fields"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, []),
        # What the inventory does not name any more goes.
        ({"hours": {"monday": []}}, {"hours": {"monday": [], "saturday": ["09:00"]}}, ["hours.saturday"]),
        ({"a": {"b": 1}}, {"a": {}}, ["a.b"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a (1 entries instead of 2)"]),
        ({"a": [{"b": True}]}, {"a": [{"b": 1}]}, ["a[0].b"]),
        ({"a": "x"}, {"a": {"x": 1}}, ["a"]),
    ],
)
def test_differences(wanted: Any, seen: Any, fields: list[str]) -> None:
    assert differences(wanted, seen) == fields


def test_the_settings_check(service: Service, check: Callable[..., str]) -> None:
    service.stored = WANTED
    asked = {"namespace": "ns", "selector": "app=booking"}
    assert check("settings", **asked, expected=WANTED) == "passed: 4 settings of booking-1 equal the inventory"
    found = check("settings", **asked, expected={**WANTED, "chairs": 4})
    assert found == "failed: settings of booking-1 differ from the inventory in chairs; run the configuration stage again"
