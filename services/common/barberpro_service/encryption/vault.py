"""Vault's transit engine as a pod of a tenant uses it: log in with the pod's own token, wrap and unwrap data keys."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from barberpro_service.config import ConfigError
from barberpro_service.errors import KeysUnavailable
from barberpro_service.logs import logger

LOG = logger(__name__)
SECONDS = 2.5
"""For so long Vault may take to answer: less than a readiness check may, which so finds out that a key in memory goes on being used."""
SILENT_SECONDS = 3.0
"""After no answer Vault is not asked again for so long: of many who wait, one has waited."""


class Wrapper(Protocol):
    """What wraps data keys."""

    async def generate(self) -> tuple[bytes, str]:
        """A new data key of 32 bytes, and the same wrapped."""

    async def unwrap(self, wrapped: str) -> bytes:
        """The data key that was wrapped."""

    async def rewrap(self, wrapped: str) -> str:
        """The same data key wrapped by the newest version of the tenant's key."""

    async def version(self) -> int:
        """The newest version of the tenant's key."""


def version_of(wrapped: str) -> int:
    """The version of the tenant's key that wrapped a data key, as Vault writes it in front ("vault:v3:...")."""
    return int(wrapped.split(":", 2)[1].removeprefix("v"))


@dataclass(frozen=True)
class Mounted:
    """The mounted folder: where Vault is, the names of its mounts, and the tenant's key."""

    directory: Path
    address: str
    transit: str
    auth: str
    key: str


def read_mounted(directory: Path) -> Mounted | None:
    """Read the mounted folder; None when the pod has none, which means that fields are not encrypted.

    Raises ConfigError naming a file that is missing or empty.
    """
    if not directory.is_dir():
        return None
    values = {}
    for name in ("address", "transit", "auth", "key"):
        path = directory / name
        try:
            values[name] = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"encryption: file {path} cannot be read: {error.strerror}; mount the ConfigMap encryption there") from error
        if not values[name]:
            raise ConfigError(f"encryption: file {path} is empty; correct that key of the ConfigMap encryption")
    return Mounted(directory, **values)


class Transit:
    """The tenant's key in Vault. One client a process; tokens are renewed by logging in again."""

    def __init__(self, mounted: Mounted, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.mounted = mounted
        self._token = ""
        self._valid_until = 0.0
        self._silent_until = 0.0
        self._lock = asyncio.Lock()
        ca_file = mounted.directory / "ca.crt"
        own = ca_file.is_file() and ca_file.stat().st_size > 0
        context = ssl.create_default_context(cafile=str(ca_file) if own else None)
        self._http = httpx.AsyncClient(base_url=mounted.address, verify=context, timeout=None, transport=transport, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, token: str) -> httpx.Response:
        if time.monotonic() < self._silent_until:
            raise self._away(f"it did not within {SECONDS:g} s a moment ago")
        try:
            async with asyncio.timeout(SECONDS):
                return await self._http.request(method, f"/v1/{path}", json=body, headers={"X-Vault-Token": token} if token else {})
        except TimeoutError as error:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            raise self._away(f"nothing within {SECONDS:g} s") from error
        except httpx.HTTPError as error:
            raise self._away(str(error) or type(error).__name__) from error

    def _away(self, reason: str) -> KeysUnavailable:
        return KeysUnavailable(f"Vault at {self.mounted.address} does not answer: {reason}; see that it runs")

    async def _log_in(self) -> str:
        async with self._lock:
            if time.monotonic() < self._valid_until:
                return self._token
            path = self.mounted.directory / "token"
            try:
                jwt = path.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise KeysUnavailable(f"the token {path} cannot be read: {error.strerror}; the pod must mount it") from error
            response = await self._send("POST", f"auth/{self.mounted.auth}/login", {"role": self.mounted.key, "jwt": jwt}, "")
            if response.status_code != httpx.codes.OK:
                raise self._refused(response, f"login as {self.mounted.key}")
            auth = response.json()["auth"]
            self._token = auth["client_token"]
            # Logging in again is as cheap as renewing, and follows a rotated role at once.
            self._valid_until = time.monotonic() + float(auth["lease_duration"]) * 2 / 3
            return self._token

    def _refused(self, response: httpx.Response, what: str) -> KeysUnavailable:
        try:
            errors = "; ".join(str(error) for error in response.json().get("errors", []))
        except ValueError:
            errors = ""
        return KeysUnavailable(f"Vault at {self.mounted.address}: {what}: HTTP {response.status_code} {errors or 'without a reason'}".strip())

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await self._send(method, path, body, await self._log_in())
        if response.status_code == httpx.codes.FORBIDDEN:
            # The token may have been revoked before its time (Vault was restored, the role was written anew).
            self._valid_until = 0.0
            response = await self._send(method, path, body, await self._log_in())
        if response.status_code != httpx.codes.OK:
            raise self._refused(response, path)
        data: dict[str, Any] = response.json()["data"]
        return data

    async def generate(self) -> tuple[bytes, str]:
        """A new data key of 32 bytes, and the same wrapped."""
        data = await self._request("POST", f"{self.mounted.transit}/datakey/plaintext/{self.mounted.key}", {"bits": 256})
        return base64.b64decode(data["plaintext"]), str(data["ciphertext"])

    async def unwrap(self, wrapped: str) -> bytes:
        """The data key that was wrapped."""
        data = await self._request("POST", f"{self.mounted.transit}/decrypt/{self.mounted.key}", {"ciphertext": wrapped})
        return base64.b64decode(data["plaintext"])

    async def rewrap(self, wrapped: str) -> str:
        """The same data key wrapped by the newest version of the tenant's key; it does not leave Vault in the clear."""
        data = await self._request("POST", f"{self.mounted.transit}/rewrap/{self.mounted.key}", {"ciphertext": wrapped})
        return str(data["ciphertext"])

    async def version(self) -> int:
        """The newest version of the tenant's key."""
        data = await self._request("GET", f"{self.mounted.transit}/keys/{self.mounted.key}")
        return int(data["latest_version"])


def transit_from(directory: Path) -> Transit | None:
    """The tenant's key for the mounted folder; None without one. Raises ConfigError."""
    mounted = read_mounted(directory)
    if mounted is None:
        LOG.warning("fields are not encrypted: no key is mounted", path=str(directory))
        return None
    return Transit(mounted)
