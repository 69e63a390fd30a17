"""Images that are missing, or new: one that no registry knows, one of which the registry has only the manifest, one under another digest."""

from __future__ import annotations

import gzip
import hashlib
import json
import urllib.request
from typing import Any

from tests.support.cluster import facts

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def unknown(number: int) -> str:
    """Return a reference that the registry does not know."""
    name, _sep, _digest = facts()["images"]["booking"].partition("@")
    return f"{name}@sha256:{hashlib.sha256(f'nobody has made this {number}'.encode()).hexdigest()}"


def without_a_layer(number: int) -> str:
    """Return the reference of a booking image whose manifest is in the registry and whose last layer has gone from it."""
    base, manifest = _booking()
    layer = gzip.compress(f"layer {number}".encode(), mtime=0)
    own = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    manifest["layers"].append({**manifest["layers"][-1], "digest": own, "size": len(layer)})
    begun = _send(f"{base}/blobs/uploads/", "POST").headers["Location"]
    place = begun if begun.startswith("http") else f"{base.partition('/v2/')[0]}{begun}"
    _send(f"{place}{'&' if '?' in place else '?'}digest={own}", "PUT", layer, {"Content-Type": "application/octet-stream"})
    reference = _pushed(base, manifest)
    _send(f"{base}/blobs/{own}", "DELETE")
    return reference


def under_another_digest(number: int) -> str:
    """Return the reference of the booking image with a mark of its own: another digest, the same layers."""
    base, manifest = _booking()
    return _pushed(base, {**manifest, "annotations": {**(manifest.get("annotations") or {}), "platform.barberpro.number": str(number)}})


def _booking() -> tuple[str, dict[str, Any]]:
    """Return the address of the booking image's repository, and its manifest."""
    name, _sep, digest = facts()["images"]["booking"].partition("@")
    host, _slash, repository = name.partition("/")
    base = f"http://{host}/v2/{repository}"
    found: dict[str, Any] = json.loads(_send(f"{base}/manifests/{digest}", headers={"Accept": MANIFEST}).read())
    return base, found


def _pushed(base: str, manifest: dict[str, Any]) -> str:
    """Put a manifest into a repository and return its reference."""
    text = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    _send(f"{base}/manifests/{digest}", "PUT", text, {"Content-Type": manifest.get("mediaType", MANIFEST)})
    return f"{base.removeprefix('http://').replace('/v2/', '/', 1)}@{digest}"


def _send(url: str, method: str = "GET", data: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    if data is None and method == "POST":
        request.add_header("Content-Length", "0")
    return urllib.request.urlopen(request, timeout=20)
