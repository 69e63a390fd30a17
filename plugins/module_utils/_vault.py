# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to Vault: the platform's own through a port-forward to its pod, an existing one over HTTPS."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.barberpro.platform.plugins.module_utils._access import AccessError, Answer, pod_request, secret_values
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import SYSTEM_NAMESPACE, Resources

NAMESPACE = "barberpro-vault"
POD = "vault-0"
LOOPBACK_PORT = 8202
"""Port of the platform's Vault that listens inside its pod alone, for port-forwards."""
CREDENTIALS = "vault-deployer"
"""Secret of the system namespace with the deployer's AppRole: keys role_id and secret_id."""
TIMEOUT = 15.0


class VaultError(PlatformError):
    """Vault cannot be reached or refuses; the text is the sentence for the user."""


class Vault:
    """One Vault. ``facts`` are what the platform says of it: provider, address, ca, transit, auth, approle."""

    def __init__(self, client: Client, facts: Mapping[str, Any]) -> None:
        self.client = client
        self.facts = facts
        self.token = ""

    @property
    def where(self) -> str:
        """Return the name of this Vault for sentences."""
        return f"Vault {NAMESPACE}/{POD}" if self.facts["provider"] == "managed" else f"Vault {self.facts['address']}"

    def send(self, method: str, path: str, body: Any = None) -> Answer:
        """Send one request below /v1. Raises VaultError when no answer comes."""
        headers = {"X-Vault-Request": "true", **({"X-Vault-Token": self.token} if self.token else {})}
        target = f"/v1/{path}"
        try:
            if self.facts["provider"] == "managed":
                return pod_request(self.client, NAMESPACE, POD, LOOPBACK_PORT, method, target, body, headers, TIMEOUT)
            return self._direct(method, target, body, headers)
        except (AccessError, OSError, http.client.HTTPException) as error:
            raise VaultError(f"{self.where} does not answer: {error}; see that it runs and can be reached from here") from error

    def _direct(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        url = urlsplit(str(self.facts["address"]))
        context = ssl.create_default_context(cadata=str(self.facts.get("ca") or "") or None)
        connection = http.client.HTTPSConnection(url.hostname or "", url.port or 8200, timeout=TIMEOUT, context=context)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, body=data, headers={**headers, "Content-Type": "application/json"})
            with connection.getresponse() as response:
                return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def read(self, path: str) -> dict[str, Any] | None:
        """Return what Vault holds at a path, None when there is nothing. Raises VaultError."""
        answer = self.send("GET", path)
        if answer.status == 404:
            return None
        return self._document(answer, "GET", path)

    def write(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write to a path and return what Vault answers. Raises VaultError."""
        return self._document(self.send("POST", path, dict(body or {})), "POST", path)

    def delete(self, path: str) -> None:
        """Delete what is at a path. Raises VaultError."""
        self._document(self.send("DELETE", path), "DELETE", path)

    def _document(self, answer: Answer, method: str, path: str) -> dict[str, Any]:
        if answer.status in (200, 204):
            document: dict[str, Any] = answer.json() if answer.body else {}
            return document
        errors = "; ".join(" ".join(str(error).split()) for error in (_json(answer).get("errors") or [])) or answer.text()
        if answer.status == 503:
            hint = "it is sealed or still starting; run deploy_platform.yml, or unseal it"
        elif answer.status == 403:
            hint = "the role of the deployer lacks this right, or its credentials were replaced; run deploy_platform.yml"
        else:
            hint = "see its log"
        raise VaultError(f"{self.where}: {method} {path}: HTTP {answer.status} {errors}; {hint}")

    def login(self) -> None:
        """Log in with the deployer's AppRole. Raises VaultError."""
        try:
            known = secret_values(Resources(self.client), SYSTEM_NAMESPACE, CREDENTIALS)
        except AccessError as error:
            raise VaultError(
                f"Secret {SYSTEM_NAMESPACE}/{CREDENTIALS} with role_id and secret_id for {self.where} does not exist; run deploy_platform.yml, "
                "or create it for an existing Vault"
            ) from error
        body = {"role_id": known.get("role_id", ""), "secret_id": known.get("secret_id", "")}
        self.token = self.write(f"auth/{self.facts['approle']}/login", body)["auth"]["client_token"]


def _json(answer: Answer) -> dict[str, Any]:
    """Return the body as a dictionary, an empty one when it is something else."""
    try:
        document = json.loads(answer.body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
