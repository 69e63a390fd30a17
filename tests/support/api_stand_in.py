"""An API server's face on loopback for unit tests: answers by path, and port-forwards over WebSocket to a function.

Whether the real API server behaves like this is what the integration tests are for.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.support.loopback import Answerer, Reply, Request, handler, serving

FORWARD = re.compile(r"^/api/v1/namespaces/([^/]+)/pods/([^/]+)/portforward$")


@dataclass
class StandIn:
    """The stand-in: its kubeconfig, its canned answers, what it was asked, and who answers on forwarded ports."""

    kubeconfig: str
    answers: dict[str, Any] = field(default_factory=dict)
    log: list[Request] = field(default_factory=list)
    pods: Answerer = field(default=lambda _request: Reply(404, "nothing here"))
    # What a port-forward ends with instead of an answer, as the kubelet says it.
    broken: str = ""
    # Status with which a port-forward is refused.
    refused: int = 0

    def items(self, path: str, *items: dict[str, Any]) -> None:
        """Answer a list request."""
        self.answers[f"GET {path}"] = {"items": list(items), "metadata": {}}

    def answer(self, request: Request) -> Reply:
        """Return the canned answer of a path, or what an API server says when there is none."""
        parts = urlsplit(request.path)
        key = f"{request.method} {unquote(parts.path)}"
        found = self.answers.get(f"{key}?{unquote(parts.query)}", self.answers.get(key))
        if callable(found):
            found = found(request)
        if found is None:
            name = parts.path.rsplit("/", 1)[-1]
            return Reply(404, {"kind": "Status", "message": f'"{name}" not found', "reason": "NotFound", "code": 404})
        return found if isinstance(found, Reply) else Reply(200, found)


def _frame(payload: bytes, code: int = 2) -> bytes:
    """Return one unmasked WebSocket frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | code, size]) + payload
    return bytes([0x80 | code, 126]) + struct.pack(">H", size) + payload if size < 65536 else bytes([0x80 | code, 127]) + struct.pack(">Q", size) + payload


def _read_frame(stream: Any) -> tuple[int, bytes]:
    """Return code and payload of one masked frame."""
    head = stream.read(2)
    if len(head) < 2:
        return 8, b""
    size = head[1] & 127
    if size > 125:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
    mask, data = stream.read(4), stream.read(size)
    return head[0] & 15, bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


def _forwarding(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    """Return a handler that port-forwards where asked, else answers."""
    plain = handler(stand_in.answer, stand_in.log)

    class Handler(plain):  # type: ignore[valid-type,misc]
        def parse_request(self) -> bool:
            good: bool = super().parse_request()
            if good and FORWARD.match(urlsplit(self.path).path) and self.headers.get("Upgrade"):
                self._forward()
                return False
            return good

        def _forward(self) -> None:
            if stand_in.refused:
                self.send_response(stand_in.refused)
                body = b'{"message": "pods \\"x\\" is forbidden"}'
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            accept = base64.b64encode(hashlib.sha1(f"{self.headers['Sec-WebSocket-Key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
            self.send_response(101)
            for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.decode())):
                self.send_header(name, value)
            self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
            self.end_headers()
            port = int(parse_qs(urlsplit(self.path).query)["ports"][0])
            number = struct.pack("<H", port)
            self.wfile.write(_frame(b"\0" + number) + _frame(b"\1" + number))
            if stand_in.broken:
                self.wfile.write(_frame(b"\1" + stand_in.broken.encode()))
                return
            self.wfile.write(self._talk())
            self.wfile.write(_frame(struct.pack(">H", 1000), 8))

        def _talk(self) -> bytes:
            """Read one HTTP request from the channel and return the frames of its answer."""
            data = b""
            while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
                code, payload = _read_frame(self.rfile)
                if code == 8:
                    return b""
                data += payload[1:]
            request = _parse(data)
            stand_in.log.append(request)
            reply = stand_in.pods(request)
            body = reply.data()
            head = f"HTTP/1.1 {reply.status} Status\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            half = len(body) // 2
            return b"".join(_frame(b"\0" + part) for part in (head, body[:half], body[half:]) if part)

    return Handler


def _length(data: bytes) -> int:
    """Return the Content-Length of a request."""
    found = re.search(rb"content-length: (\d+)", data, re.IGNORECASE)
    return int(found[1]) if found else 0


def _parse(data: bytes) -> Request:
    """Return an HTTP request's parts."""
    head, _blank, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    method, path, _version = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines[1:])}
    return Request(method, path, headers, yaml.safe_load(body) if body else None)


@contextmanager
def stand_in(folder: Path) -> Iterator[StandIn]:
    """Serve a stand-in, with a kubeconfig in ``folder``."""
    found = StandIn(str(folder / "kubeconfig"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _forwarding(found))
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    document = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "t0ken"}}],
    }
    Path(found.kubeconfig).write_text(yaml.safe_dump(document))
    with serving(server):
        yield found


def secret(namespace: str, name: str, **values: str) -> dict[str, Any]:
    """Return a Secret as an API server does."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def ready_pod(name: str, created: str = "2026-01-01T00:00:00Z", ready: bool = True) -> dict[str, Any]:
    """Return a running pod."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": {"containers": []}, "status": status}
