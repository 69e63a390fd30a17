"""Images of the services with one more migration: what a next release would bring, made from the image that is deployed."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from barberpro_cluster import images, registry
from barberpro_cluster.layout import Layout
from barberpro_cluster.shell import run
from tests.support.cluster import ROOT, facts

FOLDER = "/opt/barberpro/lib/python3.11/site-packages/barberpro_booking/migrations/versions"


def head() -> str:
    """Return the newest migration of the booking service in this checkout."""
    return max(path.name[:4] for path in (ROOT / "services/booking/barberpro_booking/migrations/versions").glob("[0-9]*.py"))


def following() -> str:
    """Return the number of the migration that comes after it."""
    return f"{int(head()) + 1:04}"


@functools.cache
def booking_with(*statements: str) -> str:
    """Return the reference of a booking image with a migration of these statements, in the cluster's registry."""
    return booking_release((statements,))


@functools.cache
def booking_release(releases: tuple[tuple[str, ...], ...], column: tuple[str, str] | None = None, silent: bool = False) -> str:
    """Return the reference of a booking image with one more migration for each of `releases`, of its statements.

    With `column`, its code uses the second column instead of the first; a `silent` image does not say which migrations it brings.
    """
    base = next(image for image in images.IMAGES if image.name == "booking")
    migrations = {}
    before = head()
    for statements in releases:
        number = f"{int(before) + 1:04}"
        body = "\n".join(f"    op.execute({statement!r})" for statement in statements)
        migrations[f"{number}_next.py"] = f"from alembic import op\n\nrevision = {number!r}\ndown_revision = {before!r}\n\n\ndef upgrade():\n{body}\n"
        before = number
    label = re.findall(r'platform\.barberpro\.migrations="([^"=]*)=', (ROOT / base.containerfile).read_text())[0]
    lines = ["ARG BASE_IMAGE", "FROM ${BASE_IMAGE}", *(f"COPY {name} {FOLDER}/" for name in migrations)]
    lines += [f'LABEL platform.barberpro.migrations="{"" if silent else f"{label}={before}"}"']
    if column is not None:
        code = Path(FOLDER).parents[1]
        # Compiled anew as the image's own Containerfile does it: Python does not look whether the source has changed.
        lines += [
            "USER 0:0", f"RUN sed -i 's/\\b{column[0]}\\b/{column[1]}/g' {code}/*.py && python -m compileall -q -f --invalidation-mode unchecked-hash {code}",
            "USER 10001:10001",
        ]
    return _built("booking", lines, migrations)


@functools.cache
def with_a_lost_layer(name: str) -> str:
    """Return the reference of an image that the cluster's registry describes, and of which it has lost a layer: nothing but a pull meets that."""
    reference = _built(name, ["ARG BASE_IMAGE", "FROM ${BASE_IMAGE}", "COPY layer /layer"], {"layer": "lost"})
    repository = f"http://{facts()['registry']}/v2/{registry.REPOSITORY}/{name}_next"
    manifest = urllib.request.Request(f"{repository}/manifests/{reference.rpartition('@')[2]}", headers={"Accept": registry.MANIFEST})
    with urllib.request.urlopen(manifest, timeout=10) as answer:
        layer = json.load(answer)["layers"][-1]["digest"]
    try:
        urllib.request.urlopen(urllib.request.Request(f"{repository}/blobs/{layer}", method="DELETE"), timeout=10).close()
    except urllib.error.HTTPError as problem:
        # An earlier run has done so.
        if problem.code != 404:
            raise
    return reference


def _built(name: str, lines: list[str], files: dict[str, str]) -> str:
    """Build an image on one of ours from the lines of a Containerfile and the files beside it, push it, and return its reference."""
    layout = Layout.of(ROOT)
    _key, folder = images.ensure(layout, next(image for image in images.IMAGES if image.name == name), {})
    key = hashlib.sha256("\n".join([folder.name, *lines, *files.values()]).encode()).hexdigest()[:16]
    target = layout.cache / "images" / f"{name}_next-{key}"
    if not target.is_dir():
        (layout.cache / "work").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layout.cache / "work") as place:
            work = Path(place)
            for file, text in files.items():
                (work / file).write_text(text)
            (work / "Containerfile").write_text("\n".join(lines) + "\n")
            images._buildah_build(layout, work, _loaded(layout, folder), target)
    return registry.push(facts()["registry"], f"{name}_next", target, images.digest_of(target), key)


def _loaded(layout: Layout, folder: Path) -> str:
    """Return the name of an image in buildah's storage; it is loaded from its OCI layout when another checkout has built it."""
    reference = f"localhost/barberpro/{folder.name}"
    if not run([*images._buildah(layout), "images", "--quiet", "--filter", f"reference={reference}"]).strip():
        storage = layout.cache / "containers"
        place = f"containers-storage:[overlay@{storage / 'storage'}+{storage / 'run'}]{reference}"
        run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{folder}:latest", place])
    return reference
