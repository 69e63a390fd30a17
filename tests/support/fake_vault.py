"""A small Vault for unit tests of the modules: what they write is kept and read back. The real one is met by the end-to-end tests."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.loopback import Reply, Request

OTP = "abcdefghijklmnopqrstuvwxyz12"
ROOT = "s.root-of-this-run-only-0001"


@dataclass
class FakeVault:
    """``held`` is what was written by path; ``initialized`` and ``sealed`` as Vault says it; ``writes`` the paths written to.

    ``granted`` is what the deployer may do at a path, nothing where it is not named.
    """

    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    initialized: bool = True
    sealed: bool = False
    builtin: bool = False
    writes: list[str] = field(default_factory=list)
    granted: dict[str, list[str]] = field(default_factory=dict)
    passwords: int = 0
    signer: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __call__(self, request: Request) -> Reply:
        path, body = request.path.removeprefix("/v1/"), request.body or {}
        if path == "sys/seal-status":
            return Reply(200, {"initialized": self.initialized, "sealed": self.sealed, "version": "1.21.0"})
        if path == "sys/health":
            return Reply(503 if self.sealed else 200, {})
        if path == "sys/init":
            self.initialized, self.sealed = True, True
            return Reply(200, {"keys_base64": ["dW5zZWFs"], "root_token": "s.first"})
        if path == "sys/unseal":
            self.sealed = body["key"] != "dW5zZWFs"
            return Reply(200, {"sealed": self.sealed})
        if self.sealed:
            return Reply(503, {"errors": ["Vault is sealed"]})
        if path.startswith("sys/generate-root/"):
            token = bytes(one ^ other for one, other in zip(ROOT.encode(), OTP.encode(), strict=True))
            return Reply(200, {"nonce": "n", "otp": OTP, "encoded_token": base64.b64encode(token).decode().rstrip("=")})
        if path.endswith("/login"):
            if body["secret_id"] != "secret-7":
                return Reply(400, {"errors": ["invalid role or secret ID"]})
            return Reply(200, {"auth": {"client_token": "s.deployer"}})
        if request.headers.get("x-vault-token") not in (ROOT, "s.deployer"):
            return Reply(403, {"errors": ["permission denied"]})
        if request.method == "GET":
            return self.read(path)
        if not path.startswith("auth/token/"):
            self.writes.append(path)
        return self.write(request.method, path, body)

    def read(self, path: str) -> Reply:
        if path.endswith("?list=true"):
            stem = path.partition("?")[0] + "/"
            names = sorted(name.removeprefix(stem) for name in {**self.keys, **self.held} if name.startswith(stem))
            return Reply(200, {"data": {"keys": names}}) if names else Reply(404, {"errors": []})
        if "/static-creds/" in path:
            return Reply(200, {"data": {"password": self.held[path.replace("/static-creds/", "/static-roles/")]["password"]}})
        if path in ("sys/audit", "sys/mounts", "sys/auth"):
            found = {f"{name.rpartition('/')[2]}/": {**value, "accessor": "acc_1"} for name, value in self.held.items() if name.startswith(f"{path}/")}
            return Reply(200, {"data": found})
        if path.endswith("/role-id"):
            return Reply(200, {"data": {"role_id": "role-7"}})
        if self.builtin and path == "sys/plugins/catalog/auth/kubernetes":
            return Reply(200, {"data": {"builtin": True}})
        found = self.keys.get(path) or self.held.get(path)
        return Reply(404, {"errors": []}) if found is None else Reply(200, {"data": found})

    def write(self, method: str, path: str, body: dict[str, Any]) -> Reply:
        mount, _found, rest = path.partition("/keys/")
        key = self.keys.get(f"{mount}/keys/{rest.split('/')[0]}")
        if method == "DELETE":
            if key is not None and not key.get("deletion_allowed"):
                return Reply(400, {"errors": ["deletion is not allowed for this key"]})
            (self.keys if path in self.keys else self.held).pop(path)
        elif path == "sys/capabilities-self":
            return Reply(200, {"data": {one: self.granted.get(one, ["deny"]) for one in body["paths"]}})
        elif "/static-roles/" in path or "/rotate-role/" in path:
            self.passwords += 1
            role = self.held.setdefault(path.replace("/rotate-role/", "/static-roles/"), dict(body))
            role["password"] = f"made-{self.passwords}"
        elif "/config/" in path and "connection_url" in body:
            details = {key: body[key] for key in ("connection_url", "username", "password_authentication", "tls_ca") if key in body}
            self.held[path] = {"plugin_name": body["plugin_name"], "allowed_roles": body["allowed_roles"].split(","), "connection_details": details}
        elif path.endswith("/secret-id"):
            return Reply(200, {"data": {"secret_id": "secret-7"}})
        elif "/sign/" in path:
            return Reply(200, {"data": {"signature": "vault:v1:" + base64.b64encode(self.signer.sign(base64.b64decode(body["input"]))).decode()}})
        elif path.endswith("/rotate") and key:
            key["latest_version"] += 1
            key["keys"][str(key["latest_version"])] = 1700000000 + key["latest_version"]
        elif path.endswith("/config") and key is not None:
            key.update(body)
        elif rest:
            public = base64.b64encode(self.signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
            first: Any = {"public_key": public} if body.get("type") == "ed25519" else 1700000001
            self.keys[path] = {"latest_version": 1, "min_decryption_version": 1, "keys": {"1": first}}
        else:
            # Vault keeps lists where it was given text.
            policies = body.get("token_policies")
            self.held[path] = {**body, "token_policies": policies.split(",")} if isinstance(policies, str) else dict(body)
        return Reply(204, "")
