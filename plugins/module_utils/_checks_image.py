# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that an image's manifest is present in its registry, by the registry's own API (OCI distribution, v2)."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ansible_collections.barberpro.platform.plugins.module_utils._access import Answer
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed, Clients, Param, check, subject

PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7"]
ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
TIMEOUT = 10.0  # seconds for one answer of a registry


@dataclass(frozen=True)
class Reference:
    """An image reference taken apart: registry host, repository, and a tag or a digest."""

    registry: str
    repository: str
    version: str


def parse_reference(text: str) -> Reference:
    """Take a reference apart as container runtimes do. Raises CheckFailed for what is none."""
    name, _sep, digest = text.partition("@")
    tag = ""
    if ":" in name.rpartition("/")[2]:
        name, _sep, tag = name.rpartition(":")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, rest
    else:
        registry, repository = "docker.io", name if "/" in name else f"library/{name}"
    valid = re.fullmatch(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", repository)
    if not valid or (digest and not re.fullmatch(r"[a-z0-9]+:[0-9a-f]{32,}", digest)):
        raise CheckFailed(f"image {text!r} is not an image reference", "write it as registry/repository@sha256:... or :tag", final=True)
    return Reference(registry, repository, digest or tag or "latest")


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Return what a registry's certificate is verified by: a bundle, or what this machine trusts. Raises OSError for a bundle that cannot be read."""
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    with _READING:
        return _trust_of_this_machine()


_READING = threading.Lock()


@lru_cache(maxsize=1)
def _trust_of_this_machine() -> ssl.SSLContext:
    """Read once: it takes longer than asking a registry does."""
    return ssl.create_default_context()


@check(
    "image",
    subject("{reference}"),
    reference=Param("The image.", required=True),
    insecure_networks=Param("Networks whose registries may be spoken to without TLS.", type="list", elements="str", default=PRIVATE),
    ca_file=Param("Bundle of certificates for the registry."),
    auth_file=Param("A docker C(config.json) with credentials of registries."),
)
def image(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """The manifest of the image is present in its registry, by digest or tag."""
    text = params["reference"]
    reference = parse_reference(text)
    host = "registry-1.docker.io" if reference.registry == "docker.io" else reference.registry
    path = f"/v2/{reference.repository}/manifests/{reference.version}"
    credentials = _credentials(params["auth_file"], reference.registry)
    try:
        tls = trust(params["ca_file"])
        scheme, answer = _ask(host, path, {"Accept": ACCEPT}, tls, params["insecure_networks"])
        challenge = answer.headers.get("www-authenticate", "")
        if answer.status == 401 and challenge:
            header = _authorize(challenge, credentials, tls, params["insecure_networks"])
            answer = _send(scheme, host, path, {"Accept": ACCEPT, "Authorization": header}, tls)
    except ssl.SSLCertVerificationError as error:
        raise CheckFailed(
            f"image {text}: the certificate of registry {host} is not trusted: {error.verify_message}",
            "give the bundle of its authority by ca_file (pipeline_registry_ca_file), or correct the name",
            final=True,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise CheckFailed(f"image {text}: registry {host} does not answer: {error}", "check the registry's address and that it runs") from error
    if answer.status == 200:
        digest = answer.headers.get("docker-content-digest", reference.version)
        return f"manifest {digest[:19]} is in {host}" if digest.startswith("sha256:") else f"manifest {digest} is in {host}"
    if answer.status == 404:
        raise CheckFailed(f"image {text}: manifest unknown to registry {host}", "push the image or correct its reference", final=True)
    if answer.status in (401, 403):
        raise CheckFailed(
            f"image {text}: registry {host} refuses access (HTTP {answer.status})",
            "give credentials by auth_file (pipeline_registry_auth_file), or correct the name",
            final=True,
        )
    raise CheckFailed(f"image {text}: registry {host} answers HTTP {answer.status}", "check the registry")


def _ask(host: str, path: str, headers: Mapping[str, str], tls: ssl.SSLContext, insecure: Sequence[str]) -> tuple[str, Answer]:
    """Ask by TLS, and without where the registry's network allows it and it does not speak TLS, as container runtimes do."""
    try:
        return "https", _send("https", host, path, headers, tls)
    except (OSError, http.client.HTTPException) as error:
        unverified = isinstance(error, ssl.SSLCertVerificationError)
        if unverified or not is_insecure(host, insecure):
            raise
    return "http", _send("http", host, path, headers, tls)


def is_insecure(host: str, networks: Sequence[str]) -> bool:
    """Return whether every address of ``host`` (with or without port) is in one of the networks."""
    name = urlsplit(f"//{host}").hostname or host
    try:
        addresses = {str(info[4][0]).split("%", maxsplit=1)[0] for info in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    known = [ipaddress.ip_network(network, strict=False) for network in networks]
    return bool(addresses) and all(
        any(ipaddress.ip_address(address) in network for network in known if network.version == ipaddress.ip_address(address).version)
        for address in addresses
    )


def _send(scheme: str, host: str, path: str, headers: Mapping[str, str], tls: ssl.SSLContext, method: str = "GET") -> Answer:
    """Send one request to a host. Raises OSError and HTTPException."""
    secure = scheme == "https"
    connection = http.client.HTTPSConnection(host, timeout=TIMEOUT, context=tls) if secure else http.client.HTTPConnection(host, timeout=TIMEOUT)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read(1 << 20))
    finally:
        connection.close()


def _authorize(challenge: str, credentials: str, tls: ssl.SSLContext, insecure: Sequence[str]) -> str:
    """Return the Authorization header that a registry's challenge asks for; a token is fetched from where it says."""
    kind, _sep, rest = challenge.partition(" ")
    if kind.lower() == "basic":
        return f"Basic {credentials}"
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = urlsplit(fields.pop("realm", ""))
    if realm.scheme != "https" and not is_insecure(realm.netloc, insecure):
        raise OSError(f"it wants credentials sent to {realm.netloc or 'nowhere'} without TLS")
    fields.pop("error", None)
    headers = {"Authorization": f"Basic {credentials}"} if credentials else {}
    answer = _send(realm.scheme, realm.netloc, f"{realm.path}?{urlencode(fields)}", headers, tls)
    if answer.status != 200:
        return ""
    document = answer.json()
    return f"Bearer {document.get('token') or document.get('access_token') or ''}"


def credentials_of(auth_file: str, registries: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of a docker config file that hold credentials of these registries, by their keys there. Raises CheckFailed.

    With a credential helper an entry is empty, and is left out.
    """
    try:
        auths: dict[str, Any] = json.loads(Path(auth_file).read_text(encoding="utf-8")).get("auths") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise CheckFailed(f"auth_file {auth_file} cannot be read: {error}", "name a docker config.json", final=True) from error
    return {
        key: entry for key, entry in auths.items()
        if _registry_of(key) in registries and isinstance(entry, dict) and (entry.get("auth") or entry.get("username"))
    }  # fmt: skip


def _registry_of(key: str) -> str:
    """Return the registry of a key of ``auths``: a host, a URL, or a host with the path of a repository."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _credentials(auth_file: str | None, registry: str) -> str:
    """Return the base64 credentials of a registry from a docker config file, none when it has none. Raises CheckFailed."""
    found = credentials_of(auth_file, [registry]) if auth_file else {}
    entry = found.get(registry) or next(iter(found.values()), {})
    if entry.get("username"):
        return base64.b64encode(f"{entry['username']}:{entry.get('password', '')}".encode()).decode()
    return str(entry.get("auth", ""))
