"""The client against a server that misbehaves."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import APPLY, Client, url_path
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, KubeconfigError, PlatformError, Unreachable
from ansible_collections.barberpro.platform.plugins.module_utils._kubeconfig import load
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources, holds
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response

from tests.support.fake_api import FakeApi, kubeconfig

OK: tuple[int, dict[str, str], Any] = (200, {}, {"ok": True})


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


@pytest.fixture
def client(api: FakeApi, tmp_path: Path) -> Client:
    return Client.from_options({"kubeconfig": kubeconfig(tmp_path, api.url, token="t0ken"), "request_timeout": 2})


def refusal(status: int, message: str = "no", **more: Any) -> tuple[int, dict[str, str], Any]:
    return (status, {}, {"kind": "Status", "message": message, **more})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_be_repeated_is(api: FakeApi, client: Client, status: int) -> None:
    api.answers = [refusal(status), refusal(status), OK]
    assert client.request("GET", "/x") == {"ok": True}
    assert len(api.seen) == 3


def test_what_stays_wrong_is_not_repeated(api: FakeApi, client: Client) -> None:
    wrong = refusal(500, "failed to create typed patch object (ns/a; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema")
    api.answers = [wrong, OK]
    with pytest.raises(ApiError, match="replicaz: field not declared in schema") as refused:
        client.request("PATCH", "/x", body={}, content_type=APPLY)
    assert (len(api.seen), refused.value.unsure) == (1, False)


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("[SSL: TLSV1_ALERT_DECODE_ERROR] tlsv1 alert decode error (_ssl.c:1006)", 2),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol (_ssl.c:1006)", 2),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", 1),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)", 1),
    ],
)
def test_a_handshake_that_was_broken_off_is_tried_again(client: Client, monkeypatch: pytest.MonkeyPatch, said: str, sent: int) -> None:
    attempts = []

    def send(*_arguments: Any, **_options: Any) -> Any:
        attempts.append(said)
        if len(attempts) == 1:
            raise client.http.exceptions.SSLError(said)
        return client.http.HTTPResponse(body=b'{"ok": true}', status=200, preload_content=True)

    monkeypatch.setattr(client, "send", send)
    if sent == 1:
        with pytest.raises(Unreachable, match=re.escape(said)):
            client.request("GET", "/x")
    else:
        assert client.request("GET", "/x") == {"ok": True}
    assert len(attempts) == sent


def test_retry_after_is_obeyed(api: FakeApi, client: Client) -> None:
    api.answers = [(429, {"Retry-After": "1"}, {}), OK]
    started = time.monotonic()
    client.request("GET", "/x")
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("2", 2.0), ("1.5", 1.5), ("600", 30.0), ("-1", 0.0), ("soon", 0.0), ("Thu, 26 Nov 2026 12:00:07 GMT", 7.0), ("Thu, 26 Nov 2026 11:00:00 GMT", 0.0)],
)
def test_what_a_server_asks_to_wait(asked: str, seconds: float) -> None:
    assert Response(429, {"retry-after": asked, "date": "Thu, 26 Nov 2026 12:00:00 GMT"}, b"").retry_after == seconds
    assert Response(429, {"date": "no date", "retry-after": "Thu, 26 Nov 2026 12:00:07 GMT"}, b"").retry_after == 0.0
    assert Response(429, {}, b"").retry_after == 0.0


def test_a_broken_connection_is_repeated_when_that_is_harmless(api: FakeApi, client: Client) -> None:
    api.answers = [None, OK]
    assert client.request("PATCH", "/x", body={}, content_type=APPLY) == {"ok": True}
    api.answers = [None, OK]
    with pytest.raises(Unreachable):
        client.request("POST", "/x", body={})


def test_a_creation_is_not_repeated_unless_it_was_refused(api: FakeApi, client: Client) -> None:
    api.answers = [refusal(500), OK]
    with pytest.raises(ApiError):
        client.request("POST", "/x", body={})
    api.answers = [refusal(429), OK]
    assert client.request("POST", "/x", body={}) == {"ok": True}


QUOTA_BUSY = refusal(
    409, 'Operation cannot be fulfilled on resourcequotas "tier": the object has been modified; please apply your changes to the latest version'
)


@pytest.mark.parametrize("write", [Resources.create, Resources.apply])
def test_a_quota_that_was_too_busy_to_count_is_asked_again(api: FakeApi, client: Client, write: Callable[..., Any]) -> None:
    api.answers = [QUOTA_BUSY, QUOTA_BUSY, (201, {}, {"metadata": {"uid": "1"}})]
    write(Resources(client), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "booking", "namespace": "tenant-a"}})
    assert len(api.seen) == 3


def test_other_conflicts_are_told_at_once_and_a_busy_quota_in_the_end(api: FakeApi, client: Client) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "booking", "namespace": "tenant-a"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tier", "namespace": "tenant-a", "resourceVersion": "1"}}
    api.answers = [refusal(409, 'Operation cannot be fulfilled on services "booking": the object has been modified')]
    with pytest.raises(ApiError, match="Service tenant-a/booking: create refused by the API server: Operation cannot be fulfilled on services"):
        Resources(client).create(service)
    api.answers = [QUOTA_BUSY]
    with pytest.raises(ApiError, match="resourcequotas"):
        Resources(client).replace(quota)
    assert len(api.seen) == 2
    client.outage_timeout = 0.5
    with pytest.raises(ApiError, match='apply refused by the API server: Operation cannot be fulfilled on resourcequotas "tier"'):
        Resources(client).apply(service)
    assert len(api.seen) > 3


def test_a_deadline_ends_the_repetition(api: FakeApi, client: Client) -> None:
    api.answers = [refusal(503, "busy")]
    with pytest.raises(ApiError, match="busy"):
        client.request("GET", "/x", deadline=time.monotonic() + 0.5)


def test_nobody_listens(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(Unreachable) as caught:
        Client.from_options({"kubeconfig": path, "outage_timeout": 0.1}).request("GET", "/version")
    expected = f"API server http://127.0.0.1:9 (kubeconfig {path}) does not answer: [Errno 111] Connection refused; check that the cluster runs"
    assert str(caught.value).startswith(expected)


def test_credentials_that_are_not_accepted(api: FakeApi, client: Client) -> None:
    api.answers = [refusal(401, "Unauthorized")]
    with pytest.raises(ApiError) as caught:
        Resources(client).get(Ref("v1", "ConfigMap", "a", "b"))
    assert str(caught.value).startswith("ConfigMap a/b: the API server does not accept the credentials of the kubeconfig (401")


def test_a_missing_permission_names_verb_resource_and_namespace(api: FakeApi, client: Client) -> None:
    said = 'deployments.apps is forbidden: User "bob" cannot list resource "deployments" in API group "apps" in the namespace "shop"'
    api.answers = [refusal(403, said)]
    with pytest.raises(ApiError, match=r"user bob may not list deployments.apps in namespace shop; run deploy_platform.yml as administrator"):
        Resources(client).list("apps/v1", "Deployment", "shop")
    api.answers = [refusal(403, 'User "bob" cannot list resource "nodes" in API group "" at the cluster scope')]
    with pytest.raises(ApiError, match=r"user bob may not list nodes at cluster scope"):
        client.request("GET", "/api/v1/nodes")


def test_a_refusal_by_a_server_that_has_just_started_is_not_believed(api: FakeApi, client: Client) -> None:
    def meanwhile(_path: str) -> tuple[int, dict[str, str], Any]:
        api.ready = True
        return refusal(403, "RBAC: clusterrole not found")

    api.ready = False
    api.answers = [refusal(403, "RBAC: clusterrole not found"), refusal(401), OK]
    assert client.request("GET", "/x") == {"ok": True}
    api.answers = [refusal(403, "RBAC: clusterrole not found"), meanwhile]
    with pytest.raises(ApiError, match="clusterrole not found"):
        client.request("GET", "/x")
    assert len(api.seen) == 5


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"}, "data": data}


STORED = {**config_map(x="1"), "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7", "uid": "u"}}


@pytest.mark.parametrize("lost", [None, refusal(500), refusal(504)])
def test_a_creation_whose_answer_got_lost_is_looked_for(api: FakeApi, client: Client, lost: Any) -> None:
    api.answers = [lost, (200, {}, STORED)]
    assert Resources(client).create(config_map(x="1")) == STORED
    assert [method for method, _path in api.seen] == ["POST", "GET"]


def test_a_creation_that_was_not_carried_out_is_sent_again(api: FakeApi, client: Client) -> None:
    api.answers = [None, refusal(404), (201, {}, STORED)]
    assert Resources(client).create(config_map(x="1")) == STORED
    assert [method for method, _path in api.seen] == ["POST", "GET", "POST"]


def test_what_somebody_else_has_made_meanwhile_is_not_taken_for_ours(api: FakeApi, client: Client) -> None:
    api.answers = [None, (200, {}, STORED), refusal(409, "already exists")]
    with pytest.raises(ApiError, match="already exists"):
        Resources(client).create(config_map(x="2"))
    api.answers = [refusal(409, "already exists"), (200, {}, STORED)]
    with pytest.raises(ApiError, match="already exists"):
        Resources(client).create(config_map(x="1"))


def test_a_replacement_whose_answer_got_lost_is_looked_for_and_another_s_is_a_conflict(api: FakeApi, client: Client) -> None:
    ours = {**config_map(x="1"), "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "6", "annotations": {}}}
    api.answers = [None, (200, {}, STORED)]
    assert Resources(client).replace(ours) == STORED
    api.answers = [None, (200, {}, STORED), refusal(409, "the object has been modified")]
    with pytest.raises(ApiError, match="has been modified"):
        Resources(client).replace({**ours, "data": {"x": "2"}})


@pytest.mark.parametrize(("live", "wanted", "expected"), [
    ({"holder": "a"}, {"holder": None}, False),
    ({}, {"holder": None}, True),
    ({"a": [1, {"b": 2, "c": 3}]}, {"a": [1, {"b": 2}]}, True),
    ({"a": [1]}, {"a": [1, 2]}, False),
    ({}, {"annotations": {}}, True),
    ({}, {"annotations": {"a": "b"}}, False),
    ({"resourceVersion": "7"}, {"resourceVersion": "6"}, True),
])  # fmt: skip
def test_what_a_live_object_holds(live: Any, wanted: Any, expected: bool) -> None:
    assert holds(live, wanted) is expected


def test_the_token_is_sent_and_never_shown(api: FakeApi, client: Client) -> None:
    api.answers = [refusal(403)]
    with pytest.raises(ApiError) as caught:
        client.request("GET", "/x")
    assert api.headers[0]["authorization"] == "Bearer t0ken"
    assert "t0ken" not in str(caught.value)


def test_a_kind_that_is_not_served(api: FakeApi, client: Client) -> None:
    api.answers = [(200, {}, {"resources": [{"name": "things", "kind": "Thing", "namespaced": True}, {"name": "things/status", "kind": "Thing"}]})]
    resources = Resources(client)
    assert resources.path("x.io/v1", "Thing", "ns", "one") == "/apis/x.io/v1/namespaces/ns/things/one"
    assert resources.namespaced("x.io/v1", "Thing")
    with pytest.raises(PlatformError, match=r"kind Other of x.io/v1 is not known to the cluster; install its CustomResourceDefinition"):
        resources.path("x.io/v1", "Other")
    assert len(api.seen) == 1  # discovery happens once
    api.answers = [refusal(404)]
    with pytest.raises(PlatformError, match=r"kind Thing of y.io/v1 is not known"):
        resources.path("y.io/v1", "Thing")


def test_lists_are_read_page_by_page_and_begun_anew_when_too_old(api: FakeApi, client: Client) -> None:
    def item(name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}}

    api.answers = [
        (200, {}, {"items": [item("a")], "metadata": {"continue": "c"}}),
        refusal(410, "expired"),
        (200, {}, {"items": [item("a")], "metadata": {"continue": "c"}}),
        (200, {}, {"items": [item("b")], "metadata": {}}),
    ]
    found = Resources(client).list("v1", "ConfigMap", "ns")
    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert found[0]["kind"] == "ConfigMap"


def test_results_keep_their_order_and_errors_their_place(client: Client) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise PlatformError("three")
        return number * 2

    results = client.map(work, range(5))
    assert [str(result) for result in results] == ["0", "2", "4", "three", "8"]
    assert client.map(work, []) == []


def test_bodies_that_are_no_json() -> None:
    assert Response(502, {}, b"<html>").json() == {"message": "<html>"}
    assert Response(200, {}, b"[1]").json() == {"message": "[1]"}


def test_a_polite_client_sends_no_more_than_so_many_requests_a_second_by_whatever_threads(api: FakeApi, tmp_path: Path) -> None:
    polite = Client.from_options({"kubeconfig": kubeconfig(tmp_path, api.url, token="t0ken")}, concurrency=4, requests_per_second=20.0)
    api.answers = [OK] * 11
    begun = time.monotonic()
    assert polite.map(lambda _number: polite.request("GET", "/x"), range(11)) == [{"ok": True}] * 11
    assert time.monotonic() - begun >= 10 / 20


def test_paths_are_quoted() -> None:
    assert url_path("a", "b/c", query={"x": "1 2", "y": None}) == "/a/b%2Fc?x=1+2"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", "is empty or no mapping"),
        (lambda text: "{", "is not valid YAML"),
        (lambda text: text.replace('"current-context": "main"', '"current-context": "other"'), "context 'other' does not exist (there is: main)"),
        (lambda text: text.replace('"cluster": "c"', '"cluster": "d"'), "cluster 'd' does not exist (there is: c)"),
        (lambda text: text.replace("http://", ""), "is not a URL"),
        (lambda text: text.replace("http://", "https://").replace('"user": {}', '"user": {"client-certificate": "/none"}'), "cannot be used"),
    ],
)
def test_kubeconfigs_that_cannot_be_used(tmp_path: Path, change: Callable[[str], str], sentence: str) -> None:
    path = Path(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    path.write_text(change(path.read_text()))
    with pytest.raises(KubeconfigError) as caught:
        load(str(path))
    assert sentence in str(caught.value)
    assert "give kubeconfig (or the environment variable KUBECONFIG) the path of a valid file" in str(caught.value)


def test_a_kubeconfig_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"/none does not exist; give kubeconfig"):
        load(str(tmp_path / "none"))


def test_the_environment_names_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert load(None).server == "http://127.0.0.1:1"


def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    connection = load(kubeconfig(tmp_path, "http://127.0.0.1:1", tokenFile="token"))
    assert connection.token() == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert connection.token() == "Bearer two"


def test_an_exec_plugin_gives_the_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    credential = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}'
    plugin.write_text(f"#!/bin/sh\necho '{credential}'\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    how = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    connection = load(kubeconfig(tmp_path, "https://127.0.0.1:1", exec=how))
    assert (connection.server, connection.token()) == ("https://127.0.0.1:1", "Bearer fresh")


def test_an_exec_plugin_that_is_missing(tmp_path: Path) -> None:
    how = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/none/plugin", "interactiveMode": "Never"}
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", exec=how)
    with pytest.raises(KubeconfigError, match="gives no credentials: its exec plugin or auth provider has failed"):
        load(path)
