"""Images as archives, for the nodes of a cluster of the user's own: one OCI archive each, and a file with the references.

`kind load image-archive` and `k3d image import` give an archive to the nodes' containerd, which keeps the name that stands in
it. That name carries the digest: pods of tenants may run nothing else that is not pulled anew each time.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from . import binaries, facts, images, packages
from .console import say, step
from .layout import Layout
from .shell import write_if_changed

REPOSITORY = "localhost/barberpro"
REFERENCES = "references.json"


def folder_of(layout: Layout) -> Path:
    """Where the archives are."""
    return layout.state / "images"


def chosen(layout: Layout) -> list[images.Image]:
    """The images that playbooks deploy; the others are the embedded cluster's own."""
    keys = facts.DEPLOYED + facts.ON_REQUEST
    return [image for image in images.wanted(layout) if image.name in keys]


def ensure(layout: Layout) -> None:
    """Build what changed and write its archive; `references.json` has what the facts name as `images`."""
    packages.ensure(layout)
    wanted = chosen(layout)
    needed = {program for image in wanted for program in image.programs}
    built = binaries.ensure(layout, tuple(item.name for item in binaries.TOOLS if needed & {name for name, _ in item.packages}))
    with step("images"):
        folders = {image.name: images.ensure(layout, image, built)[1] for image in wanted}
    place = folder_of(layout)
    known = json.loads((place / REFERENCES).read_text()) if (place / REFERENCES).exists() else {}
    changed = [name for name, folder in folders.items() if known.get(name) != reference(name, folder) or not (place / f"{name}.tar").exists()]
    for name in changed:
        write(folders[name], name, place / f"{name}.tar")
        say(f"    wrote {place / name}.tar")
    write_if_changed(place / REFERENCES, json.dumps({name: reference(name, folder) for name, folder in folders.items()}, indent=2) + "\n")
    say(f"Images: {'archives' if changed else 'nothing changed, archives'} in {place}, references in {place / REFERENCES}")


def reference(name: str, folder: Path) -> str:
    """How pods name the image of an OCI layout once a node has loaded its archive."""
    return f"{REPOSITORY}/{name}@{images.digest_of(folder)}"


def write(folder: Path, name: str, archive: Path) -> None:
    """Write an OCI layout as one archive, which appears under its name only when it is complete."""
    index = json.loads((folder / "index.json").read_text())
    named = reference(name, folder)
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": named, "org.opencontainers.image.ref.name": named}
    data = json.dumps(index).encode()
    entry = tarfile.TarInfo("index.json")
    entry.size = len(data)
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_name(f".{archive.name}")
    with tarfile.open(unfinished, "w") as stream:
        stream.addfile(entry, io.BytesIO(data))
        for part in ("oci-layout", "blobs"):
            stream.add(folder / part, part)
    unfinished.rename(archive)
