"""Programs built from pinned Go modules, kept in a cache that every checkout of this user shares.

Each tool has a module of its own (``cluster/tools/<name>``): its go.mod and go.sum pin every line that is compiled. The add-ons agree on the
versions of what they share (a unit test says where they do not), so that each package is compiled once for all of them.
A build lands in ``<cache>/bin/<name>-<key>/``; the key hashes those two files, the flags and the Go version. It is made
in a folder beside and renamed at the end, so that a killed build leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from . import charts, parts
from .console import say, step
from .errors import ClusterError
from .layout import Layout
from .shell import locked, run

ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-buildvcs=false -mod=readonly",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
    # A compiler lives for seconds: one that collects no garbage below 1 GiB takes a quarter less of the processor
    # (kwok with empty caches: 135 instead of 187 s).
    "GOGC": "off",
    "GOMEMLIMIT": "1GiB",
}
SIDE_BY_SIDE = 2
"""Tools built at once: linking and fetching keep one core busy at most, another tool's compilers take the rest."""


@dataclass(frozen=True)
class Asset:
    """A file or folder of a module's source that is kept beside its programs (charts, CRDs)."""

    module: str
    source: str
    target: str


@dataclass(frozen=True)
class Tool:
    """One module: its folder's name, the packages to build by program name, and linker values.

    ``{version}`` in ``values`` stands for the version of ``module`` in go.mod. A program of this repository has no
    ``module``; its ``source`` is its own folder under ``cluster/``, and its key covers every file of it. ``tests`` are
    packages whose tests become a program. A tool of a ``part`` is built only where that part was asked for.
    """

    name: str
    module: str
    packages: tuple[tuple[str, str], ...]
    values: tuple[str, ...] = ()
    assets: tuple[Asset, ...] = ()
    source: str = ""
    tests: tuple[tuple[str, str], ...] = ()
    tags: str = ""
    part: str = ""


_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
_ENVOY_GATEWAY = "github.com/envoyproxy/gateway"
_VAULT_KUBERNETES = "github.com/hashicorp/vault-plugin-auth-kubernetes"
_OPERATOR = "github.com/prometheus-operator/prometheus-operator"

TOOLS = (
    Tool(
        "kubernetes",
        "k8s.io/kubernetes",
        tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in _KUBERNETES),
        values=("k8s.io/component-base/version.gitVersion={version}",),
    ),
    Tool("etcd", "go.etcd.io/etcd/server/v3", (("etcd", "go.etcd.io/etcd/server/v3"),)),
    # A program of its folder: with upstream's, most of the time went into plugins for other clouds.
    Tool("coredns", "github.com/coredns/coredns", (("coredns", "."),)),
    Tool(
        "metrics-server",
        "sigs.k8s.io/metrics-server",
        (("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),),
    ),
    Tool(
        "local-path-provisioner",
        "github.com/rancher/local-path-provisioner",
        (("local-path-provisioner", "github.com/rancher/local-path-provisioner"),),
        values=("main.VERSION={version}",),
    ),
    Tool(
        "pebble",
        "github.com/letsencrypt/pebble/v2",
        (("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble"),),
    ),
    Tool(
        "envoy-gateway",
        _ENVOY_GATEWAY,
        (("envoy-gateway", f"{_ENVOY_GATEWAY}/cmd/envoy-gateway"),),
        values=(f"{_ENVOY_GATEWAY}/internal/cmd/version.envoyGatewayVersion={{version}}",),
        assets=(Asset(_ENVOY_GATEWAY, "charts", "charts"),),
    ),
    Tool("helm", "helm.sh/helm/v4", (("helm", "helm.sh/helm/v4/cmd/helm"),),
         values=("helm.sh/helm/v4/internal/version.version={version}",)),
    Tool(
        "prometheus-operator",
        _OPERATOR,
        (
            ("prometheus-operator", f"{_OPERATOR}/cmd/operator"),
            ("prometheus-config-reloader", f"{_OPERATOR}/cmd/prometheus-config-reloader"),
        ),
        values=("github.com/prometheus/common/version.Version={version}",),
        assets=(Asset(_OPERATOR, "example/prometheus-operator-crd", "crds"),),
    ),
    # Debian's is built without the discovery of Kubernetes' objects, so it cannot take what the operator writes.
    Tool(
        "prometheus",
        "github.com/prometheus/prometheus",
        (("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),),
        # The module's v0.313 is the release 3.13, as its authors number it.
        values=("github.com/prometheus/common/version.Version=3.13.0",),
        # Upstream's own switch: without it, the discoveries of twenty clouds are compiled too.
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    Tool(
        "kwok",
        "sigs.k8s.io/kwok",
        (("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
        values=("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
        part=parts.SIMULATED,
    ),
    Tool("policy-agent", "", (("policy-agent", "."),), source="policy_agent"),
    # "minimal" leaves out what only clouds and databases need; Kubernetes' logins and PostgreSQL come as the plugins that Vault has for them.
    Tool(
        "vault",
        "github.com/hashicorp/vault",
        (
            ("vault", "github.com/hashicorp/vault"),
            ("vault-plugin-auth-kubernetes", f"{_VAULT_KUBERNETES}/cmd/vault-plugin-auth-kubernetes"),
            ("vault-plugin-database-postgresql", "github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin"),
        ),
        tags="minimal",
        part=parts.VAULT,
    ),
)  # fmt: skip

SIMULATED = ("kubernetes", "etcd", "kwok")
"""The tools that the profile without nodes needs."""


def wanted(layout: Layout) -> tuple[Tool, ...]:
    """The tools that this checkout's cluster uses."""
    asked = parts.asked(layout)
    return tuple(item for item in TOOLS if not item.part or item.part in asked)


def tool(name: str) -> Tool:
    """The tool of that name."""
    return next(candidate for candidate in TOOLS if candidate.name == name)


def version_of(go_mod: str, module: str) -> str:
    """The version that a go.mod requires of a module."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise ClusterError(f"go.mod does not require {module}; run `go get -tool` for it in that folder")
    return found.group(1)


def flags(item: Tool, go_mod: str) -> list[str]:
    """The flags of `go build`: no paths of this machine, no symbol tables, the version as upstream's builds say it."""
    version = version_of(go_mod, item.module) if item.module else ""
    values = "".join(f" -X {value.format(version=version)}" for value in item.values)
    return [*(["-tags", item.tags] if item.tags else []), "-trimpath", "-ldflags", f"-s -w{values}"]


def key_of(item: Tool, folder: Path, go_version: str) -> str:
    """Sixteen hex digits that change with anything that could change the programs."""
    go_mod = (folder / "go.mod").read_text()
    digest = hashlib.sha256()
    recipe = repr((item.packages, flags(item, go_mod), item.assets) + ((item.tests,) if item.tests else ()))
    parts = [go_mod, (folder / "go.sum").read_text(), recipe, go_version]
    own = sorted(path for path in folder.rglob("*.go") if not path.name.endswith("_test.go"))
    parts += [f"{path.relative_to(folder)}\n{path.read_text()}" for path in own]
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def folder_of(layout: Layout, item: Tool, go_version: str) -> Path:
    """Where the tool's programs are, or will be."""
    return layout.cache / "bin" / f"{item.name}-{key_of(item, source_of(layout, item), go_version)}"


def source_of(layout: Layout, item: Tool) -> Path:
    """The folder with the tool's go.mod."""
    return layout.checkout / "cluster" / item.source if item.source else layout.tools / item.name


def go_version() -> str:
    """What `go env GOVERSION` says."""
    return run(["go", "env", "GOVERSION"]).strip()


def missing(layout: Layout, names: tuple[str, ...]) -> list[str]:
    """The tools that are not in the cache."""
    version = go_version()
    return [name for name in names if not folder_of(layout, tool(name), version).is_dir()]


def ensure(layout: Layout, names: tuple[str, ...] | None = None) -> dict[str, Path]:
    """Build what the cache lacks; returns the path of every program by its name, and links them in ``.embedded/bin``."""
    version = go_version()
    items = list(wanted(layout)) if names is None else [tool(name) for name in names]
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        builds = [pool.submit(made, layout, item, version) for item in items]
        _done, waiting = wait(builds, return_when=FIRST_EXCEPTION)
        for build in waiting:
            build.cancel()
    programs: dict[str, Path] = {}
    for build in builds:
        if not build.cancelled():
            programs |= build.result()
    for name, program in programs.items():
        link(layout.state / "bin" / name, program)
    return programs


def made(layout: Layout, item: Tool, version: str) -> dict[str, Path]:
    """Build one tool when the cache lacks it; returns the path of every program by its name. ``version`` is Go's."""
    folder = folder_of(layout, item, version)
    if not folder.is_dir():
        _build(layout, item, folder)
    return {name: folder / name for name, _ in item.packages + item.tests}


def written(package: str, source: Path) -> str:
    """The name that `go build` gives a package's program: its last element that is no major version."""
    if package == ".":
        return source.name
    elements = [element for element in package.split("/") if not re.fullmatch(r"v\d+", element)]
    return elements[-1]


def link(path: Path, target: Path) -> None:
    """Make a symbolic link point there, through a rename."""
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.rename(path)


def _build(layout: Layout, item: Tool, folder: Path) -> None:
    source = source_of(layout, item)
    go_mod = (source / "go.mod").read_text()
    for unfinished in folder.parent.glob(".*"):
        with locked(layout.cache / "locks" / f"{unfinished.stem[1:]}.lock", wait=False) as left:
            if left:  # by a build that was killed
                shutil.rmtree(unfinished)
    # Another checkout may build the same thing at this moment: wait for it and use its result.
    with locked(layout.cache / "locks" / f"{folder.name}.lock"):
        if folder.is_dir():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        version = version_of(go_mod, item.module) if item.module else "of this checkout"
        with step(f"building {item.name} {version} from source, once"):
            options = flags(item, go_mod)
            # Go leaves its temporary files where it is killed.
            environment = {**ENVIRONMENT, "GOTMPDIR": str(work)}
            if item.packages:
                packages = [package for _, package in item.packages]
                run(["go", "build", *options, "-o", f"{work}/", *packages], env=environment, cwd=source, builds=True)
            for name, package in item.tests:
                run(["go", "test", "-c", *options, "-o", work / name, package], env=environment, cwd=source, builds=True)
        for name, package in item.packages:
            (work / written(package, source)).rename(work / name)
        for name, _ in item.packages + item.tests:
            # Images that hold the program are keyed by what it is, not by where it lies.
            digest = hashlib.sha256((work / name).read_bytes()).hexdigest()
            (work / f"{name}.sha256").write_text(digest + "\n")
        for asset in item.assets:
            path = run(["go", "list", "-m", "-f", "{{.Dir}}", asset.module], env=ENVIRONMENT, cwd=source).strip()
            shutil.copytree(Path(path) / asset.source, work / asset.target)
            # The module cache is read-only; what we keep must be removable.
            run(["chmod", "-R", "u+w", work / asset.target])
        if item.name == "envoy-gateway":
            charts.finish(work / "charts" / "gateway-helm", version_of(go_mod, item.module))
        work.chmod(0o755)
        work.rename(folder)
        say(f"    {item.name} is in {folder}")
