"""Container images, built from the Containerfiles of this repository and kept in the cache as OCI layouts.

An image is built again only when its key changes: the hash of its Containerfile, of every file of its context and of
the base image's key. Another checkout (or the same one after `make down`) only copies the layout into its registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import parts
from .console import step
from .layout import Layout
from .shell import locked, run, write_if_changed

BASE = "base"
KEPT = 4
"""Layouts of one image that stay in the cache: several checkouts share it."""


@dataclass(frozen=True)
class Image:
    """One image: folder of its Containerfile, its context, programs and packages that the context needs.

    ``context`` and ``containerfile`` are relative to the checkout. ``programs`` are copied into the context from the
    tools' cache, ``wheels`` names a requirements file (with hashes) whose wheels the host downloads into ``wheels/``.
    """

    name: str
    containerfile: str
    context: str
    programs: tuple[str, ...] = ()
    wheels: str = ""
    base: str = BASE
    part: str = ""


def _own(name: str, *programs: str, wheels: str = "", base: str = BASE, part: str = "") -> Image:
    folder = f"cluster/images/{name}"
    requirements = f"{folder}/{wheels}" if wheels else ""
    return Image(name.replace("-", "_"), f"{folder}/Containerfile", folder, programs, requirements, base, part)


IMAGES = (
    _own("pause"),
    _own("coredns", "coredns", base=""),
    _own("metrics-server", "metrics-server", base=""),
    _own("local-path-provisioner", "local-path-provisioner", base=""),
    Image("booking", "services/booking/Containerfile", "services"),
    Image("walkin_queue", "services/walkin_queue/Containerfile", "services"),
    _own("postgresql"),
    _own("pgbouncer"),
    _own("envoy", wheels="requirements.txt"),
    _own("envoy-gateway", "envoy-gateway"),
    _own("prometheus", "prometheus", base=""),
    _own("alertmanager"),
    _own("prometheus-operator", "prometheus-operator", base=""),
    _own("prometheus-config-reloader", "prometheus-config-reloader", base=""),
    _own("vault", "vault", "vault-plugin-auth-kubernetes", "vault-plugin-database-postgresql", part=parts.VAULT),
)

PLATFORM = ("pause", "coredns", "metrics_server", "local_path_provisioner")
"""Images that the cluster itself runs; the others are deployed by playbooks."""


def wanted(layout: Layout) -> tuple[Image, ...]:
    """The images that this checkout's cluster uses."""
    asked = parts.asked(layout)
    return tuple(image for image in IMAGES if not image.part or image.part in asked)


def context_files(layout: Layout, image: Image, programs: dict[str, Path]) -> dict[str, Path]:
    """Every file that the Containerfile copies: path inside the context, and where it is taken from."""
    root = layout.checkout / image.context
    containerfile = layout.checkout / image.containerfile
    wanted = [Path(name) for name in copied(containerfile.read_text())]
    found = {}
    for path in _sources(root):
        inside = path.relative_to(root)
        if any(inside == name or name in inside.parents for name in wanted):
            found[str(inside)] = path
    if image.wheels:
        found["requirements.txt"] = layout.checkout / image.wheels
    found |= {name: programs[name] for name in image.programs}
    return found | {"Containerfile": containerfile}


def copied(containerfile: str) -> list[str]:
    """The sources of a Containerfile's COPY instructions that come from the context."""
    found = []
    for line in containerfile.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "COPY" and not words[1].startswith("--from="):
            found += [word for word in words[1:-1] if not word.startswith("--")]
    return found


def key_of(files: dict[str, Path], base_key: str) -> str:
    """Sixteen hex digits that change with anything that could change the image.

    A program of the tools' cache has its digest in a file beside it.
    """
    digest = hashlib.sha256(base_key.encode())
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{os.access(path, os.X_OK)}\0".encode())
        known = path.with_name(f"{path.name}.sha256")
        digest.update((known if known.exists() else path).read_bytes())
    return digest.hexdigest()[:16]


def base_key(layout: Layout) -> str:
    """Key of the base image."""
    folder = layout.checkout / "cluster" / "images" / BASE
    return key_of({path.name: path for path in _sources(folder)}, "")


def base_folder(layout: Layout) -> Path:
    """Where the base image's OCI layout is."""
    return folder_of(layout, BASE, base_key(layout))


def folder_of(layout: Layout, name: str, key: str) -> Path:
    """Where the image's OCI layout is, or will be."""
    return layout.cache / "images" / f"{name}-{key}"


def digest_of(folder: Path) -> str:
    """The digest of the one manifest in an OCI layout."""
    index = json.loads((folder / "index.json").read_text())
    digest: str = index["manifests"][0]["digest"]
    return digest


def ensure(layout: Layout, image: Image, programs: dict[str, Path]) -> tuple[str, Path]:
    """Build the image when the cache lacks it; returns its key and the folder of its OCI layout."""
    files = context_files(layout, image, programs)
    key = key_of(files, base_key(layout) if image.base else "")
    folder = folder_of(layout, image.name, key)
    if not folder.is_dir():
        base = _base(layout) if image.base else "scratch"
        with locked(layout.cache / "locks" / "images.lock"):
            if not folder.is_dir():
                with step(f"building image {image.name}"):
                    _build(layout, image, files, folder, base)
    return key, folder


def _base(layout: Layout) -> str:
    """Name of the base image in buildah's storage; it is made when neither storage nor cache has it."""
    key = base_key(layout)
    folder = folder_of(layout, BASE, key)
    reference = f"localhost/barberpro/base:{key}"
    with locked(layout.cache / "locks" / "images.lock"):
        if not folder.is_dir():
            files = {path.name: path for path in _sources(layout.checkout / "cluster" / "images" / BASE)}
            with step("building image base (Debian bookworm with Python, once)"), _workspace(layout, files) as work:
                names = ",".join(_names((work / "packages.txt").read_text()))
                options = ["--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io", f"--include={names}"]
                run(["mmdebstrap", *options, "bookworm", work / "rootfs.tar"], env={"TMPDIR": str(work)}, builds=True)
                _buildah_build(layout, work, "scratch", folder)
        if not run([*_buildah(layout), "images", "--quiet", "--filter", f"reference={reference}"]).strip():
            with step("loading image base"):
                storage = layout.cache / "containers"
                place = f"containers-storage:[overlay@{storage / 'storage'}+{storage / 'run'}]{reference}"
                run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{folder}:latest", place])
    return reference


def _build(layout: Layout, image: Image, files: dict[str, Path], folder: Path, base: str) -> None:
    with _workspace(layout, files) as work:
        if image.wheels:
            requirements = layout.checkout / image.wheels
            options = ["--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps"]
            run([sys.executable, "-m", "pip", "download", *options, "--dest", work / "wheels", "--requirement", requirements], builds=True)
        _buildah_build(layout, work, base, folder)


def _buildah_build(layout: Layout, work: Path, base: str, folder: Path) -> None:
    """Build, then keep the result as an OCI layout that appears under its final name only when it is complete."""
    reference = f"localhost/barberpro/{folder.name}"
    options = ["--isolation=chroot", "--layers", "--format=oci", "--timestamp=0", "--quiet", _policy(layout)]
    # What this host trusts and where it fetches packages from also holds for commands inside the build.
    shared = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
    options += [f"--volume={path}:{path}:ro" for path in shared if Path(path).exists()]
    options += [f"--build-arg=BASE_IMAGE={base}", f"--tag={reference}", f"--file={work / 'Containerfile'}"]
    run([*_buildah(layout), "build", *options, work], builds=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    target = folder.parent / f".{folder.name}"
    for unfinished in folder.parent.glob(".*"):  # of a build that was killed: who builds has the lock
        shutil.rmtree(unfinished)
    # Level 1: the copies never leave this machine, and a small machine's processor is its scarcest part.
    push = ["push", "--quiet", _policy(layout), "--compression-format=gzip", "--compression-level=1"]
    run([*_buildah(layout), *push, reference, f"oci:{target}:latest"], builds=True)
    target.rename(folder)
    _forget_older(folder)
    # The newest build stays in buildah's storage: its layers make the next one faster. Older ones go.
    pattern = f"reference=localhost/barberpro/{folder.name.rsplit('-', 1)[0]}-*"
    names = run([*_buildah(layout), "images", "--filter", pattern, "--format", "{{.Name}}"]).split()
    old = [name for name in names if name.removeprefix("localhost/barberpro/") != folder.name]
    if old:
        run([*_buildah(layout), "rmi", "--force", *old])


def _forget_older(folder: Path) -> None:
    """Keep the newest layouts of an image: each is a copy of what some registry has, or is built again in a minute."""
    name = folder.name.rsplit("-", 1)[0]
    layouts = [path for path in folder.parent.glob(f"{name}-*") if path.name.rsplit("-", 1)[0] == name]
    for old in sorted(layouts, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old)


def _buildah(layout: Layout) -> list[str | Path]:
    storage = layout.cache / "containers"
    return ["buildah", "--root", storage / "storage", "--runroot", storage / "run", "--storage-driver=overlay"]


def _policy(layout: Layout) -> str:
    """The option that lets buildah copy images between this machine's own folders without signatures."""
    path = layout.cache / "containers" / "policy.json"
    write_if_changed(path, json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    return f"--signature-policy={path}"


class _workspace:
    """A temporary build context with the files copied into it. Whoever has one holds the lock of the images, so that what is there was left."""

    def __init__(self, layout: Layout, files: dict[str, Path]) -> None:
        self._layout = layout
        self._parent = layout.cache / "work"
        self._files = files
        self._path = Path()

    def __enter__(self) -> Path:
        if self._parent.exists() and any(self._parent.iterdir()):
            # A build that was killed left its context, and containers of its own.
            run([*_buildah(self._layout), "rm", "--all"])
            shutil.rmtree(self._parent)
        self._parent.mkdir(parents=True, exist_ok=True)
        self._path = Path(tempfile.mkdtemp(prefix="context-", dir=self._parent))
        for name, source in self._files.items():
            target = self._path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)


def _names(text: str) -> list[str]:
    return [line for line in (line.split("#")[0].strip() for line in text.splitlines()) if line]


def _sources(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts):
            yield path
