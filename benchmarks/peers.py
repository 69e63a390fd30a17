"""Other tools that bring the same objects to the same cluster, with the deployer's identity: kubectl, Helm 4, kapp, kubernetes.core.k8s.

``plain_client`` is no tool but the limit: a client that applies and does nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fleet import ROOT
from benchmarks.judges import TOOLS, cache
from benchmarks.site import Site, run

Sets = Iterable[list[dict[str, Any]]]
# A namespace comes before what is in it; every tool but kubectl and the module sorts for itself.
_FIRST = ("Namespace", "ServiceAccount", "Role", "RoleBinding")


def kapp() -> str:
    """Return the path of kapp; builds it when it is not in the cache."""
    source = TOOLS / "kapp"
    key = hashlib.sha256((source / "go.mod").read_bytes() + (source / "go.sum").read_bytes()).hexdigest()[:16]
    program = cache() / f"kapp-{key}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        subprocess.run(["go", "build", "-trimpath", "-o", str(draft), "carvel.dev/kapp/cmd/kapp"], cwd=source, env=environment, check=True)
        draft.rename(program)
    return str(program)


def helm() -> str:
    """Return the path of the Helm of the embedded cluster's tools; builds it when it is not in the cache."""
    code = "from pathlib import Path; from barberpro_cluster import binaries, layout; print(binaries.ensure(layout.Layout.of(Path()), ('helm',))['helm'])"
    return run([str(ROOT / ".venv/bin/python"), "-c", code], PYTHONPATH="cluster").output.strip().splitlines()[-1]


def _place(obj: dict[str, Any]) -> int:
    return _FIRST.index(obj["kind"]) if obj["kind"] in _FIRST else len(_FIRST)


def write(path: Path, sets: Sets) -> Path:
    """Write objects as one YAML stream of JSON documents, tenant by tenant, so that they are never all in memory."""
    with path.open("w") as stream:
        for objects in sets:
            for obj in sorted(objects, key=_place):
                stream.write("---\n" + json.dumps(obj) + "\n")
    return path


def kubectl_ssa(site: Site, sets: Sets) -> float:
    """Return the seconds of one kubectl apply --server-side with one file that holds all objects."""
    path = write(site.work / "kubectl.yaml", sets)
    command = [site.kubectl_path, "--kubeconfig", site.deployer, "apply", "--server-side", "--field-manager=kubectl", "-f", str(path)]
    return run(command).seconds


def helm_install(site: Site, sets: Sets) -> float:
    """Return the seconds of one helm install a tenant, each with a chart of its objects."""
    program, seconds = helm(), 0.0
    for objects in sets:
        namespace = next(obj for obj in objects if obj["kind"] == "Namespace")
        name = namespace["metadata"]["name"]
        chart = site.work / "charts" / name
        (chart / "templates").mkdir(parents=True, exist_ok=True)
        (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "shop", "version": "1.0.0"}))
        # Helm keeps its own record in the namespace, so that has to be there before; it is the platform's to label.
        text = "".join("---\n" + json.dumps(obj) + "\n" for obj in objects if obj is not namespace)
        (chart / "templates" / "objects.yaml").write_text(text.replace("{{", '{{ "{{" }}'))  # alerts have templates of their own
        first = write(site.work / "namespace.yaml", [[namespace]])
        seconds += run([site.kubectl_path, "--kubeconfig", site.deployer, "apply", "--server-side", "-f", str(first)]).seconds
        command = [program, "--kubeconfig", site.deployer, "install", "shop", str(chart), "--namespace", name, "--take-ownership"]
        seconds += run(command, HELM_CACHE_HOME=str(site.work), HELM_CONFIG_HOME=str(site.work), HELM_DATA_HOME=str(site.work)).seconds
    return seconds


def _adopting(obj: dict[str, Any]) -> dict[str, Any]:
    """Tell kapp, by its annotations, what it meets here.

    The cluster itself makes the service account `default` between its look and its write, and the platform's admission policies keep its labels
    off the pods of the platform.
    """
    metadata = obj["metadata"]
    if "template" in obj.get("spec", {}):
        plain = {f"kapp.k14s.io/disable-default-{rules}-rules": "" for rules in ("label-scoping", "ownership-label")}
        return {**obj, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **plain}}}
    if (obj["kind"], metadata["name"]) != ("ServiceAccount", "default"):
        return obj
    notes = {**(metadata.get("annotations") or {}), "kapp.k14s.io/create-strategy": "fallback-on-update"}
    return {**obj, "metadata": {**metadata, "annotations": notes}}


def kapp_deploy(site: Site, sets: Sets) -> float:
    """Return the seconds of one kapp deploy of all objects as one app, without waiting for them."""
    path = write(site.work / "kapp.yaml", ([_adopting(obj) for obj in objects] for objects in sets))
    where = ["-a", f"bench-{os.getpid()}", "-n", "barberpro-system"]
    return run([kapp(), "--kubeconfig", site.deployer, "deploy", *where, "-f", str(path), "--yes", "--wait=false"]).seconds


def plain_client(site: Site, sets: Sets) -> float:
    """Return the seconds of a client that applies all objects and does nothing else (``benchmarks/plain_client.py``)."""
    path = site.work / "plain.jsonl"
    with path.open("w") as stream:
        stream.writelines(json.dumps(sorted(objects, key=_place)) + "\n" for objects in sets)
    return run([str(ROOT / ".venv/bin/python"), "-m", "benchmarks.plain_client", site.deployer, str(path)], PYTHONPATH=f".venv/collections:{ROOT}").seconds


def module_list(site: Site, sets: Sets) -> float:
    """Return the seconds of one task of kubernetes.core.k8s with a list of all objects."""
    objects = [obj for found in sets for obj in found]
    done, _kept = site.task("k8s-list", "kubernetes.core.k8s", {"definition": site.data("k8s-list", objects), "apply": True})
    return done.seconds


def module_loop(site: Site, sets: Sets) -> float:
    """Return the seconds of a task of kubernetes.core.k8s in a loop over all objects."""
    objects = [obj for found in sets for obj in found]
    done, _kept = site.task("k8s-loop", "kubernetes.core.k8s", {}, loop=objects)
    return done.seconds
