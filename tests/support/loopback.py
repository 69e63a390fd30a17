"""Real servers on loopback for unit tests: HTTP and HTTPS with a certificate of an own authority, DNS over UDP."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass
class Reply:
    """What it answers; a body that is no text is sent as JSON."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


Answerer = Callable[[Request], Reply]


def handler(answer: Answerer, log: list[Request]) -> type[BaseHTTPRequestHandler]:
    """Return a handler class that asks ``answer`` for each request and keeps the requests in ``log``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            request = Request(self.command, self.path, headers, json.loads(data) if data[:1] in (b"{", b"[") else None)
            log.append(request)
            reply = answer(request)
            body = reply.data()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_args: Any) -> None:
            """Keep quiet."""

    return Handler


@dataclass
class Web:
    """A server that runs: where it is and what it was asked."""

    port: int
    log: list[Request]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def web(answer: Answerer, certificate: Path | None = None) -> Iterator[Web]:
    """Serve ``answer`` on a free port of loopback, with TLS when a PEM file of key and chain is given."""
    log: list[Request] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(answer, log))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield Web(server.server_address[1], log)


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent() -> Iterator[int]:
    """Accept connections and never say anything; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Authority:
    """A certificate authority whose files are in a folder."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), 365, x509.BasicConstraints(ca=True, path_length=None))
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, days: int = 90) -> Path:
        """Return a PEM file with key and certificate for these names, valid for ``days``."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        certificate = self._sign(subject, key.public_key(), days, x509.SubjectAlternativeName(alternatives))
        file = self.folder / f"{names[0].replace('*', 'any')}-{days}.pem"
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _sign(self, subject: x509.Name, public: Any, days: int, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=days, minutes=5))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self.key, hashes.SHA256())
        )


@contextmanager
def name_server(records: dict[str, tuple[str, str]]) -> Iterator[int]:
    """Serve DNS over UDP: name -> (type, values with spaces between them); other names do not exist. Yields the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query = dns.message.from_wire(self.request[0])
            question = query.question[0]
            reply = dns.message.make_response(query)
            known = records.get(question.name.to_text(omit_final_dot=True))
            if known is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif known[0] == question.rdtype.name:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", known[0], *known[1].split()))
            self.request[1].sendto(reply.to_wire(), self.client_address)

    server = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with serving(server):
        yield server.server_address[1]
