# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP as a customer speaks it, but to an address that we choose: the name goes into SNI, certificate check and Host header."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ansible_collections.barberpro.platform.plugins.module_utils._access import Answer
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Param

TIMEOUT = 10.0  # seconds for one answer
# The parameters that say how to reach a site, shared by the checks that do.
SITE: dict[str, Param] = {
    "url": Param("Where to.", required=True),
    "address": Param("IP, or IP:PORT, to connect to instead of what DNS says."),
    "headers": Param("Headers of the request.", type="dict", default={}),
    "ca_file": Param("Bundle of certificates to trust (default the system's)."),
    "verify": Param("Whether to verify the certificate.", type="bool", default=True),
}


class Site:
    """A site at a chosen address. Every request uses a connection of its own, as a new customer does."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Take the parameters of SITE. Raises CheckFailed for what is not a URL."""
        self.url: SplitResult = urlsplit(params["url"])
        if self.url.scheme not in ("http", "https") or not self.url.hostname:
            raise CheckFailed(f"{params['url']!r} is not an http or https URL", "correct the parameter url", final=True)
        self.headers = {str(key): str(value) for key, value in params["headers"].items()}
        self._ca_file: str | None = params["ca_file"]
        self._verify: bool = params["verify"]
        standard = 443 if self.url.scheme == "https" else 80
        self.port = self.url.port or standard
        self.address, self.connect_port = split_address(params["address"] or self.url.hostname, self.port)

    @property
    def where(self) -> str:
        """Return the site's URL and, where it differs, the address."""
        base = f"{self.url.scheme}://{self.url.netloc}"
        return base if self.address == self.url.hostname else f"{base} at {self.address}:{self.connect_port}"

    def get(self, path: str | None = None) -> Answer:
        """Return the answer to GET of a path, by default the URL's own."""
        return self.send("GET", path)

    def send(self, method: str, path: str | None = None, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request; a ``body`` is sent as JSON. Redirects are not followed. Raises CheckFailed when no answer comes."""
        own = f"{self.url.path or '/'}{'?' + self.url.query if self.url.query else ''}"
        data = None if body is None else json.dumps(body).encode()
        sent = {"Host": self.url.netloc, "User-Agent": "barberpro.platform", **self.headers, **(headers or {})}
        if data is not None:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.url.hostname or "", self.port, timeout=TIMEOUT)
        try:
            connection.sock = self._connect()
            connection.request(method, path or own, body=data, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        except ssl.SSLCertVerificationError as error:
            raise CheckFailed(f"{self.where}: the certificate does not verify: {error.verify_message}", "see the tls check") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise CheckFailed(f"{self.where}: {method} {path or own}: no answer: {reason}", "check the gateway and the route") from error
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        """Return a connected socket, with TLS for https."""
        plain = socket.create_connection((self.address, self.connect_port), TIMEOUT)
        if self.url.scheme == "http":
            return plain
        tls = ssl.create_default_context(cafile=self._ca_file)
        if not self._verify:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        try:
            return tls.wrap_socket(plain, server_hostname=self.url.hostname)
        except OSError:
            plain.close()
            raise


def split_address(text: str, port: int) -> tuple[str, int]:
    """Return host and port of ``IP``, ``IP:PORT``, ``[V6]:PORT`` or ``V6``; ``port`` where none is given."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, port
    parts = urlsplit(f"//{text}")
    return parts.hostname or text, parts.port or port
