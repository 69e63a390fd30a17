"""Putting images into the cluster's own registry."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

from .console import say
from .errors import ClusterError
from .shell import run

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REPOSITORY = "barberpro"


def wait(registry: str, log: Path, timeout: float = 30.0) -> None:
    """Wait until the registry answers; raises ClusterError with the end of its log otherwise."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(f"http://{registry}/v2/", timeout=5):
                return
        except OSError as problem:
            if time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "(no log)"
                raise ClusterError(f"the registry at {registry} does not answer ({problem}); the end of {log}:\n{tail}") from problem
            time.sleep(0.2)


def has(registry: str, name: str, digest: str) -> bool:
    """Whether the registry has that manifest."""
    url = f"http://{registry}/v2/{REPOSITORY}/{name}/manifests/{digest}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": MANIFEST})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return True
    except urllib.error.HTTPError as problem:
        if problem.code == 404:
            return False
        raise


def reference(registry: str, name: str, digest: str) -> str:
    """How pods name the image."""
    return f"{registry}/{REPOSITORY}/{name}@{digest}"


def push(registry: str, name: str, folder: Path, digest: str, tag: str) -> str:
    """Copy an OCI layout into the registry unless it is there; returns the reference by digest."""
    if not has(registry, name, digest):
        target = f"docker://{registry}/{REPOSITORY}/{name}:{tag}"
        options = ["--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
        run(["skopeo", *options, f"oci:{folder}:latest", target])
        say(f"    pushed {name}")
    return reference(registry, name, digest)
