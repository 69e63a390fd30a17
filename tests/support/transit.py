"""A transit engine in memory: keys with versions, rotated, retired and destroyed as Vault does it. Vault itself is met by the end-to-end tests."""

from __future__ import annotations

import base64
import json
import os

import httpx

from barberpro_service.errors import KeysUnavailable


class MemoryTransit:
    """What the encryption library asks of Vault; ``calls`` counts what it was asked, ``away`` makes it silent."""

    def __init__(self) -> None:
        self.latest = 1
        self.oldest = 1
        self.calls: list[str] = []
        self.away = False
        self._wrapped: dict[str, bytes] = {}

    def _ask(self, what: str) -> None:
        self.calls.append(what)
        if self.away:
            raise KeysUnavailable("Vault at https://vault.test:8200 does not answer: connection refused; see that it runs")

    def _wrap(self, key: bytes) -> str:
        wrapped = f"vault:v{self.latest}:{base64.b64encode(os.urandom(12)).decode()}"
        self._wrapped[wrapped] = key
        return wrapped

    async def generate(self) -> tuple[bytes, str]:
        self._ask("generate")
        key = os.urandom(32)
        return key, self._wrap(key)

    async def unwrap(self, wrapped: str) -> bytes:
        self._ask("unwrap")
        if wrapped not in self._wrapped or int(wrapped.split(":")[1][1:]) < self.oldest:
            raise KeysUnavailable("Vault at https://vault.test:8200: decrypt: HTTP 400 ciphertext or signature version is disallowed by policy (too old)")
        return self._wrapped[wrapped]

    async def rewrap(self, wrapped: str) -> str:
        return self._wrap(await self.unwrap(wrapped))

    async def version(self) -> int:
        self._ask("version")
        return self.latest

    async def close(self) -> None:
        """There is nothing to close."""

    async def respond(self, request: httpx.Request) -> httpx.Response:
        """Answer as Vault's HTTP interface does, for the tests of the client."""
        body = json.loads(request.content or b"{}")
        path = request.url.path
        try:
            if path.endswith("/login"):
                if body["jwt"] != "pod-token":
                    return httpx.Response(403, json={"errors": ["permission denied"]})
                return httpx.Response(200, json={"auth": {"client_token": f"t{len(self.calls)}", "lease_duration": 1200}})
            if "/datakey/" in path:
                key, wrapped = await self.generate()
                data = {"plaintext": base64.b64encode(key).decode(), "ciphertext": wrapped}
            elif "/decrypt/" in path:
                data = {"plaintext": base64.b64encode(await self.unwrap(body["ciphertext"])).decode()}
            elif "/rewrap/" in path:
                data = {"ciphertext": await self.rewrap(body["ciphertext"])}
            else:
                return httpx.Response(200, json={"data": {"latest_version": await self.version()}})
        except KeysUnavailable as error:
            return httpx.Response(400, json={"errors": [str(error)]})
        return httpx.Response(200, json={"data": data})
