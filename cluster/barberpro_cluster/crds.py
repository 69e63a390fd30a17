"""Custom resource definitions that the product uses, read from the modules that the pinned tools were built from.

They are copied beside the programs in the cache: a user who has the programs needs no module cache and no network.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .binaries import ENVIRONMENT, version_of
from .console import step
from .errors import ClusterError
from .layout import Layout
from .shell import locked, run


@dataclass(frozen=True)
class Source:
    """A folder of definitions: its key in the facts, the tool whose go.mod pins the module, module and folder."""

    key: str
    tool: str
    module: str
    folder: str


_ENVOY = "github.com/envoyproxy/gateway"
_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
_CHART = "charts/gateway-helm/charts/crds/crds"

# The same files as in the chart and the folder that the embedded cluster's facts name.
SOURCES = (
    Source("gateway_api", "envoy-gateway", _ENVOY, _CHART),
    Source("envoy_gateway", "envoy-gateway", _ENVOY, f"{_CHART}/generated"),
    Source("prometheus_operator", "prometheus-operator", _OPERATOR, "example/prometheus-operator-crd"),
)


def files(layout: Layout) -> dict[str, list[Path]]:
    """The YAML files of each source, sorted; raises ClusterError when a module cannot be had or holds none."""
    return {source.key: _files_of(layout, source) for source in SOURCES}


def _files_of(layout: Layout, source: Source) -> list[Path]:
    folder = layout.tools / source.tool
    version = version_of((folder / "go.mod").read_text(), source.module)
    target = layout.cache / "crds" / f"{source.key}-{version}"
    if not target.is_dir():
        with locked(layout.cache / "locks" / f"crds-{target.name}.lock"):
            if not target.is_dir():
                _copy(source, folder, target)
    found = sorted(target.glob("*.yaml"))
    if not found:
        raise ClusterError(f"{target} holds no definitions; remove that folder and try again")
    return found


def _copy(source: Source, tool: Path, target: Path) -> None:
    with step(f"fetching the custom resource definitions of {source.module}"):
        # In the folder of the tool that pins it, so that go.sum is checked.
        run(["go", "mod", "download", source.module], env=ENVIRONMENT, cwd=tool)
        module = run(["go", "list", "-m", "-f", "{{.Dir}}", source.module], env=ENVIRONMENT, cwd=tool).strip()
    target.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(unfinished)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    for path in Path(module, source.folder).glob("*.yaml"):
        shutil.copyfile(path, work / path.name)
    work.chmod(0o755)
    os.rename(work, target)
