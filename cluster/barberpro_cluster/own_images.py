"""Images for a cluster of the user's own: built here, pushed to the registry that its nodes pull from.

Archives that are loaded into the nodes (`kind load`, `k3d image import`) would not do: a deploy asks the registry whether an image is
there and which migrations it brings, before it changes anything.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import binaries, facts, images, packages, registry
from .console import say, step
from .errors import ClusterError
from .layout import Layout
from .shell import run, write_if_changed

VARIABLE = "BARBERPRO_REGISTRY"
TODO = "name the registry that the nodes pull from, as they and this machine call it (for example localhost:5001; see docs/embedded-cluster.md)"


def references_file(layout: Layout) -> Path:
    """Where the references are written."""
    return layout.state / "images" / "references.json"


def chosen(layout: Layout) -> list[images.Image]:
    """The images that playbooks deploy; the others are the embedded cluster's own."""
    keys = facts.DEPLOYED + facts.ON_REQUEST
    return [image for image in images.wanted(layout) if image.name in keys]


def ensure(layout: Layout) -> None:
    """Build what changed and push it; the file of references has what the facts name as `images`. Raises ClusterError without a registry."""
    address = os.environ.get(VARIABLE, "").rstrip("/")
    if not address:
        raise ClusterError(f"{VARIABLE} is not set; {TODO}")
    if os.geteuid() != 0:
        raise ClusterError(f"images are built by root (buildah, mmdebstrap), and this is user {os.geteuid()}; run `sudo -E make images`")
    packages.ensure(layout)
    wanted = chosen(layout)
    needed = {program for image in wanted for program in image.programs}
    built = binaries.ensure(layout, tuple(item.name for item in binaries.TOOLS if needed & {name for name, _ in item.packages}))
    with step("images"):
        ready = {image.name: images.ensure(layout, image, built) for image in wanted}
        found = {name: push(address, name, folder, key) for name, (key, folder) in ready.items()}
    file = references_file(layout)
    write_if_changed(file, json.dumps(found, indent=2) + "\n")
    say(f"Images: {len(found)} are in {address}, references in {file}")


def push(address: str, name: str, folder: Path, tag: str) -> str:
    """Copy an OCI layout into a registry and return the reference by digest; layers that are there are not sent again. Raises ClusterError."""
    host = address.partition("/")[0].rpartition(":")[0] or address
    plain = ["--dest-tls-verify=false"] if host == "localhost" or host.endswith(".localhost") or host.startswith("127.") else []
    target = f"docker://{address}/{registry.REPOSITORY}/{name}:{tag}"
    try:
        run(["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", *plain, f"oci:{folder}:latest", target])
    except ClusterError as error:
        raise ClusterError(f"image {name} could not be pushed to {VARIABLE}={address}: {error}; {TODO}") from error
    return registry.reference(address, name, images.digest_of(folder))
