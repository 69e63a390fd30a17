"""The lookups that read one object or one row in the process of their task: what they return, and what they say when nobody answers."""

from __future__ import annotations

import importlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible_collections.barberpro.platform.plugins.module_utils import _sql

from tests.integration.services import postgres
from tests.support.api_stand_in import StandIn


def looked_up(name: str, *terms: str, **options: Any) -> list[dict[str, Any]]:
    """Call a lookup. Ansible's plugin loader fills the options in from the documentation; here that is done by hand."""
    module = importlib.import_module(f"ansible_collections.barberpro.platform.plugins.lookup.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(options) <= set(documented)
    lookup = module.LookupModule()
    lookup.set_options = lambda **_options: None
    lookup.get_option = lambda key: options.get(key, documented[key].get("default"))
    found: list[dict[str, Any]] = lookup.run(list(terms), variables={}, **options)
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_row_and_who_can_log_in(pg: postgres.Server, tenant: postgres.Tenant) -> None:
    server = {"host": "127.0.0.1", "port": pg.port, "dbname": "barberpro", "sslmode": "disable"}
    app = {"user": tenant.read("app", "user"), "password": tenant.read("app", "password")}
    query = "SELECT to_regnamespace(%(schema)s) IS NOT NULL AS there, '50%%' AS share"
    row, good, wrong = looked_up(
        "postgresql", query, arguments={"schema": tenant.schema}, user="admin", logins=[app, {**app, "password": "wrong"}], outage_timeout=5, **server
    )
    assert row == {"row": {"there": True, "share": "50%"}, "problem": ""}
    assert good == {"user": app["user"], "problem": "", "away": False}
    assert wrong["away"] is False
    assert wrong["problem"].endswith(f'cannot be reached as role {app["user"]}: FATAL:  password authentication failed for user "{app["user"]}"')
    (written,) = looked_up("postgresql", "CREATE TABLE public.mine (id int)", user="admin", **server)
    assert written["problem"].endswith("cannot execute CREATE TABLE in a read-only transaction")


def test_a_server_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # Bound, so that nobody else gets the port; nobody listens yet.
    with socket.socket() as listener, ThreadPoolExecutor() as pool:
        listener.bind(("127.0.0.1", 0))
        port, answered, pauses = listener.getsockname()[1], [], []
        nobody = {"host": "127.0.0.1", "port": port, "dbname": "barberpro", "logins": [{"user": "app", "password": "x"}]}
        reason = f"database barberpro at 127.0.0.1:{port} cannot be reached as role app: Connection refused"

        def answer() -> None:
            listener.settimeout(60)
            with listener.accept()[0] as connection:
                connection.recv(64)
                # To the question whether it speaks TLS: no.
                connection.sendall(b"N")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            listener.listen()
            answered.append(pool.submit(answer))

        monkeypatch.setattr(_sql, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
        assert looked_up("postgresql", **nobody) == [{"user": "app", "problem": reason, "away": True}]
        assert pauses == [], "without an outage_timeout it is asked once"
        problem = looked_up("postgresql", outage_timeout=60, **nobody)[0]["problem"]
        assert "server does not support SSL" in problem, "it was asked again, and what it said then is final"
        assert pauses == [1]
        answered[0].result()


def test_an_object_by_its_name(api: StandIn) -> None:
    api.answers["GET /api/v1/namespaces/a/configmaps/b"] = {"kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"key": "value"}}
    there, missing = looked_up("object", "a/b", "a/c", kind="ConfigMap", kubeconfig=api.kubeconfig)
    assert (there["data"], missing) == ({"key": "value"}, {})


def test_an_object_of_a_server_that_does_not_answer(tmp_path: Any) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    (tmp_path / "config").write_text(
        f"{{apiVersion: v1, kind: Config, current-context: x, clusters: [{{name: x, cluster: {{server: '{server}'}}}}],"
        " users: [{name: x, user: {token: x}}], contexts: [{name: x, context: {cluster: x, user: x}}]}"
    )
    with pytest.raises(AnsibleLookupError, match=f"API server {server} .* does not answer: .*; check that the cluster runs and that the address is right"):
        looked_up("object", "a/b", kubeconfig=str(tmp_path / "config"), outage_timeout=1)
