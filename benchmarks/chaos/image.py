"""Images that are missing: one that no registry knows, one of which the registry has only the manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
import urllib.request
from typing import Any

from tests.support.cluster import facts


def unknown(number: int) -> str:
    """Return a reference that the registry does not know."""
    name, _sep, _digest = facts()["images"]["booking"].partition("@")
    return f"{name}@sha256:{hashlib.sha256(f'nobody has made this {number}'.encode()).hexdigest()}"


def without_a_layer(number: int) -> str:
    """Return the reference of a booking image whose manifest is in the registry and whose last layer has gone from it."""
    reference = facts()["images"]["booking"]
    name, _sep, digest = reference.partition("@")
    host, _slash, repository = name.partition("/")
    base = f"http://{host}/v2/{repository}"
    accept = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.loads(_send(f"{base}/manifests/{digest}", headers={"Accept": accept}).read())
    layer = gzip.compress(f"layer {number}".encode(), mtime=0)
    own = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    manifest["layers"].append({**manifest["layers"][-1], "digest": own, "size": len(layer)})
    begun = _send(f"{base}/blobs/uploads/", "POST").headers["Location"]
    place = begun if begun.startswith("http") else f"http://{host}{begun}"
    _send(f"{place}{'&' if '?' in place else '?'}digest={own}", "PUT", layer, {"Content-Type": "application/octet-stream"})
    text = json.dumps(manifest).encode()
    ours = f"sha256:{hashlib.sha256(text).hexdigest()}"
    _send(f"{base}/manifests/{ours}", "PUT", text, {"Content-Type": manifest.get("mediaType", accept)})
    _send(f"{base}/blobs/{own}", "DELETE")
    return f"{name}@{ours}"


def _send(url: str, method: str = "GET", data: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    if data is None and method == "POST":
        request.add_header("Content-Length", "0")
    return urllib.request.urlopen(request, timeout=20)
