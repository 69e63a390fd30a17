"""Envoy Gateway's chart as its release would package it: the source tree holds it with the version left open."""

from __future__ import annotations

import re
from pathlib import Path

from .shell import write_if_changed


def finish(folder: Path, version: str) -> None:
    """Fill in what the project's release build fills in: version, default image, pull policy."""
    template = (folder / "values.tmpl.yaml").read_text()
    values = template.replace("${GatewayImage}", f"docker.io/envoyproxy/gateway:{version}")
    write_if_changed(folder / "values.yaml", values.replace("${GatewayImagePullPolicy}", "IfNotPresent"))
    chart = (folder / "Chart.yaml").read_text()
    chart = re.sub(r"^version: .*$", f"version: {version}", chart, flags=re.MULTILINE)
    chart = re.sub(r"^appVersion: .*$", f'appVersion: "{version}"', chart, flags=re.MULTILINE)
    write_if_changed(folder / "Chart.yaml", chart)
