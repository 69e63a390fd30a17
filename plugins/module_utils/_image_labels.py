# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image says of itself: its labels, read from its registry without pulling or running it."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.barberpro.platform.plugins.module_utils._access import Answer
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import CheckFailed
from ansible_collections.barberpro.platform.plugins.module_utils._checks_image import (
    ACCEPT,
    PRIVATE,
    _ask,
    _authorize,
    _credentials,
    _send,
    parse_reference,
    trust,
)

MIGRATIONS = "platform.barberpro.migrations"
"""Label of a service's image: the version table and the newest migration that it knows, as ``TABLE=HEAD``."""


def labels(text: str, ca_file: str | None = None, auth_file: str | None = None) -> dict[str, str]:
    """Return the labels of an image, of the first platform where it has several. Raises CheckFailed with the reason."""
    reference = parse_reference(text)
    host = "registry-1.docker.io" if reference.registry == "docker.io" else reference.registry
    credentials = _credentials(auth_file, reference.registry)
    base = f"/v2/{reference.repository}"
    try:
        tls = trust(ca_file)
        manifest = _document(host, f"{base}/manifests/{reference.version}", tls, credentials)
        if "manifests" in manifest:
            manifest = _document(host, f"{base}/manifests/{manifest['manifests'][0]['digest']}", tls, credentials)
        config = _document(host, f"{base}/blobs/{manifest['config']['digest']}", tls, credentials)
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as error:
        raise CheckFailed(f"image {text}: registry {host} does not say its labels: {error}", "check the reference and the registry") from error
    found = (config.get("config") or {}).get("Labels") or {}
    return {str(key): str(value) for key, value in found.items()}


def _document(host: str, path: str, tls: ssl.SSLContext, credentials: str) -> dict[str, Any]:
    """Return a JSON document of a registry. Raises OSError for any answer but that."""
    headers = {"Accept": f"{ACCEPT}, application/json"}
    scheme, answer = _ask(host, path, headers, tls, PRIVATE)
    challenge = answer.headers.get("www-authenticate", "")
    if answer.status == 401 and challenge:
        header = _authorize(challenge, credentials, tls, PRIVATE)
        answer = _send(scheme, host, path, {**headers, "Authorization": header}, tls)
    if answer.status in (301, 302, 303, 307, 308):
        # Registries keep blobs elsewhere; that place knows us by the address alone, and must not be given our credentials.
        there = urlsplit(answer.headers.get("location", ""))
        answer = _send(there.scheme or scheme, there.netloc or host, f"{there.path}?{there.query}", {}, tls)
    return _json(answer)


def _json(answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise OSError(f"HTTP {answer.status}")
    document = json.loads(answer.body)
    if not isinstance(document, dict):
        raise OSError("it answers something else than a document")
    return document


def migrations(found: Mapping[str, str]) -> tuple[str, str] | None:
    """Return version table and newest migration that the labels name, None when the image says neither."""
    table, separator, head = found.get(MIGRATIONS, "").partition("=")
    return (table, head) if separator and table and head else None
