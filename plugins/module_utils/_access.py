# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reach what runs in the cluster through the API server: port-forward to a pod, requests to a Service through its proxy.

The runner needs no route to pods or Services, and nothing has to be exposed for it.
"""

from __future__ import annotations

import base64
import http.client
import importlib
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import IDEMPOTENT, Client, url_path
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1  # channels of the first forwarded port
OUTAGE_PAUSE = 0.5  # seconds between two tries while the API server is away


class AccessError(PlatformError):
    """Something in the cluster cannot be reached; the text is the sentence for the user."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: ``status``, ``headers`` (names in lower case) and ``body``."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises AccessError with the start of the body when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise AccessError(f"the answer (HTTP {self.status}) is not JSON: {self.text()!r}; look at the service's log") from None

    def text(self, most: int = 200) -> str:
        """Return the start of the body as one line."""
        return " ".join(self.body.decode("utf-8", "replace").split())[:most]


# Sends (method, path, body) to a service and returns its answer; what the admin API's callers need of a connection.
Send = Callable[[str, str, Any], Answer]


class _Tunnel:
    """One forwarded port as the socket that http.client expects: sendall, makefile, close.

    As with a real socket, what was made by makefile can be read after close: http.client closes first and reads the body then.
    """

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self._greeted: set[int] = set()
        self._readers = 0
        self._closed = False

    def sendall(self, data: bytes) -> None:
        """Send bytes to the port."""
        self._websocket.send_binary(bytes([DATA]) + bytes(data))

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        """Return a file to read what the port sends."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the tunnel as soon as nobody reads from it any more."""
        self._closed = True
        self.release(0)

    def release(self, readers: int = 1) -> None:
        """Take away a reader; the last one closes the tunnel if that was asked for."""
        self._readers -= readers
        if self._closed and self._readers <= 0:
            self._websocket.close(timeout=1)

    def receive(self) -> bytes:
        """Return the next bytes of the port, none at its end. Raises OSError with the kubelet's words."""
        library = importlib.import_module("websocket")
        while True:
            try:
                code, data = self._websocket.recv_data(control_frame=False)
            except library.WebSocketConnectionClosedException:
                return b""
            except library.WebSocketTimeoutException as error:
                raise TimeoutError("no answer in time") from error
            if code == library.ABNF.OPCODE_CLOSE or not data:
                return b""
            channel, payload = data[0], bytes(data[1:])
            if channel not in self._greeted:  # the first frame of a channel repeats the port's number
                self._greeted.add(channel)
                payload = payload[2:]
            if channel == ERROR and payload:
                raise ConnectionError(payload.decode("utf-8", "replace").strip())
            if channel == DATA and payload:
                return payload


class _Reader(io.RawIOBase):
    """The reading end of a tunnel."""

    def __init__(self, tunnel: _Tunnel) -> None:
        super().__init__()
        self._tunnel = tunnel
        self._rest = b""

    def readable(self) -> bool:
        """Return true."""
        return True

    def close(self) -> None:
        """Close this end."""
        if not self.closed:
            super().close()
            self._tunnel.release()

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` and return how much was read; 0 at the end."""
        if not self._rest:
            self._rest = self._tunnel.receive()
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def open_tunnel(client: Client, namespace: str, pod: str, port: int, timeout: float = 10.0) -> _Tunnel:
    """Open a port-forward to a pod. An API server that is away is waited for, as by all other requests, since nothing was sent yet.

    Raises AccessError naming the pod, the port and the reason.
    """
    try:
        library = importlib.import_module("websocket")
    except ImportError as error:
        raise AccessError(f"the Python package websocket-client is needed ({error}); install it for the interpreter that runs this") from error
    connection = client.connection
    path = url_path("api", "v1", "namespaces", namespace, "pods", pod, "portforward", query={"ports": port})
    token = connection.token()
    options: dict[str, Any] = {"context": connection.tls}
    if connection.server_name:
        options["server_hostname"] = connection.server_name
    where = f"port-forward to Pod {namespace}/{pod} port {port}"
    end, answered = time.monotonic() + client.outage_timeout, False
    while True:
        try:
            return _Tunnel(
                library.create_connection(
                    "ws" + connection.server.removeprefix("http") + path,
                    timeout=timeout,
                    sslopt=options if connection.tls is not None else {},
                    header=[f"Authorization: {token}"] if token else [],
                    subprotocols=[PROTOCOL],
                    http_no_proxy=["*"],
                )
            )
        except library.WebSocketBadStatusException as error:
            problem, cause = AccessError(f"{where}: {_refusal(error)}"), error
            may_heal = error.status_code >= 500 or client.speaks_too_soon(error.status_code)
        except (library.WebSocketException, OSError) as error:
            problem, cause = AccessError(f"{where}: {error}; check that the API server and the node's kubelet run"), error
            may_heal = True
        # It may have come back since: one more try tells whether that was it.
        away = may_heal and client.is_away()
        if not may_heal or (answered and not away) or time.monotonic() > end:
            raise problem from cause
        answered = not away
        time.sleep(OUTAGE_PAUSE)


def _refusal(error: Any) -> str:
    """Return what the API server says when it refuses a port-forward."""
    body = getattr(error, "resp_body", None) or b""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace").strip() if isinstance(body, bytes) else str(body)
    hint = "grant get and create on pods/portforward" if error.status_code == 403 else "check that the pod still runs"
    return f"HTTP {error.status_code} {message}; {hint}"


def pod_request(
    client: Client,
    namespace: str,
    pod: str,
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Answer:
    """Send one HTTP request to a port of a pod through a port-forward; a ``body`` is sent as JSON.

    One that an outage of the API server cuts off is sent again where doing it twice is harmless (``IDEMPOTENT``). Raises AccessError.
    """
    data = None if body is None else json.dumps(body).encode()
    sent = {"Host": "localhost", "Connection": "close", **(headers or {})}
    if data is not None:
        sent["Content-Type"] = "application/json"
    end = time.monotonic() + client.outage_timeout
    while True:
        connection = http.client.HTTPConnection("localhost", port, timeout=timeout)
        connection.sock = open_tunnel(client, namespace, pod, port, timeout)
        try:
            connection.request(method, path, body=data, headers=sent)
            with connection.getresponse() as response:
                return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException) as error:
            if method not in IDEMPOTENT or time.monotonic() > end or not client.is_away():
                where = f"{method} {path} on port {port} of Pod {namespace}/{pod}"
                raise AccessError(f"{where}: {error or type(error).__name__}; check that the container listens there") from error
        finally:
            connection.close()
        time.sleep(OUTAGE_PAUSE)


def ready_pod(resources: Resources, namespace: str, selector: str) -> str:
    """Return the name of the newest ready pod. Raises AccessError that says how many pods there are and why none will do."""
    pods = resources.list("v1", "Pod", namespace, labels=selector)
    ready = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and is_ready(pod)]
    if not ready:
        states = ", ".join(f"{pod['metadata']['name']} is {(pod.get('status') or {}).get('phase', 'unknown')}" for pod in pods[:3])
        why = f"{states}, not ready" if states else "no pod has these labels"
        raise AccessError(f"no ready pod with {selector} in namespace {namespace}: {why}; see kubectl -n {namespace} get pods -l {selector}")
    return str(max(ready, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))["metadata"]["name"])


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether the Ready condition of a pod is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def secret_values(resources: Resources, namespace: str, name: str) -> dict[str, str]:
    """Return the decoded values of a Secret. Raises AccessError when it does not exist."""
    secret = resources.get(Ref("v1", "Secret", namespace, name))
    if secret is None:
        raise AccessError(f"Secret {namespace}/{name} does not exist; the infrastructure stage makes it")
    return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (secret.get("data") or {}).items()}


def admin_sender(client: Client, namespace: str, selector: str, port: int, token_secret: str, timeout: float = 10.0) -> tuple[str, Send]:
    """Return the pod that serves the admin API, and a function that sends a request to it. Raises AccessError."""
    resources = Resources(client)
    pod = ready_pod(resources, namespace, selector)
    values = secret_values(resources, namespace, token_secret)
    # A token that has just been rotated reaches the pod a moment later; until then it knows the one before.
    tokens = [values[key] for key in ("token", "previous") if values.get(key)]
    if not values.get("token"):
        raise AccessError(f"Secret {namespace}/{token_secret} has no key token; run the infrastructure stage again")

    def send(method: str, path: str, body: Any = None) -> Answer:
        for token in tokens:
            answer = pod_request(client, namespace, pod, port, method, path, body, {"Authorization": f"Bearer {token}"}, timeout)
            if answer.status != 401:
                break
        return answer

    return pod, send


def service_get(
    client: Client, namespace: str, service: str, port: int | str, path: str, query: Mapping[str, str] | None = None, scheme: str = "http"
) -> Any:
    """Return the JSON that a Service answers to GET ``path`` through the API server's proxy. Raises ApiError and Unreachable."""
    # The plain name where it will do: a role names what may be proxied exactly as it stands in the path.
    name = f"{service}:{port}" if scheme == "http" else f"{scheme}:{service}:{port}"
    root = url_path("api", "v1", "namespaces", namespace, "services", name, "proxy", *path.strip("/").split("/"), query=query)
    return client.request("GET", root, target=f"Service {namespace}/{service} port {port}", verb="proxy request", deadline=None)
