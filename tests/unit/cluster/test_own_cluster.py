"""A cluster of the user's own: where its facts are, and how its registry gets the images."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from barberpro_cluster import binaries, foreign, images, own_images, packages
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout, facts_file
from demo import summary

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def layout(tmp_path):
    return Layout(checkout=ROOT, cache=tmp_path / "cache")


@pytest.fixture
def oci(tmp_path):
    """An image as the cache keeps it."""
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "blobs" / "sha256" / ("a" * 64)).write_text("{}")
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"digest": "sha256:" + 64 * "a", "size": 2, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def test_facts_are_where_the_variable_says_or_where_make_cluster_writes_them(monkeypatch, tmp_path):
    monkeypatch.delenv("BARBERPRO_CLUSTER_FACTS", raising=False)
    assert facts_file(ROOT) == ROOT / ".embedded" / "cluster.json"
    monkeypatch.setenv("BARBERPRO_CLUSTER_FACTS", str(tmp_path / "own.json"))
    assert facts_file(ROOT) == tmp_path / "own.json"


def test_inventory_demo_and_tests_read_the_facts_that_the_variable_names(monkeypatch, tmp_path, capsys):
    own = tmp_path / "own.json"
    monkeypatch.setenv("BARBERPRO_CLUSTER_FACTS", str(own))
    report = tmp_path / "shop" / "1" / "report.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    monkeypatch.setattr(summary, "newest_report", lambda _tenant: report)
    assert summary.main(["shop"]) == 1
    assert f"demo: {own} is missing; start the cluster first: make cluster, or name other facts" in capsys.readouterr().err

    own.write_text('{"node_ip": "192.0.2.1"}')
    listed = subprocess.run([ROOT / "inventories/embedded/cluster.sh"], capture_output=True, text=True, check=True).stdout
    assert json.loads(listed)["all"]["vars"]["barberpro_cluster"] == {"node_ip": "192.0.2.1"}
    own.unlink()
    listed = subprocess.run([ROOT / "inventories/embedded/cluster.sh"], capture_output=True, text=True, check=True).stdout
    told = f"{{{{ undef(hint='the facts of the cluster cannot be read from {own}; correct BARBERPRO_CLUSTER_FACTS') }}}}"
    assert json.loads(listed)["all"]["vars"]["barberpro_cluster"] == told
    own.write_text('{"node_ip": "192.0.2.1"}')
    code = "from tests.support.cluster import FACTS_FILE; print(FACTS_FILE)"
    assert subprocess.run(["python3", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == str(own)


@pytest.fixture
def built(oci, tmp_path, layout, monkeypatch):
    """Images that are built already; returns the programs that were asked for, and what skopeo is called with."""
    monkeypatch.setenv("BARBERPRO_KUBECONFIG", str(tmp_path / "kubeconfig"))
    asked, called = [], []
    monkeypatch.setattr(own_images, "references_file", lambda _layout: tmp_path / "references.json")
    monkeypatch.setattr(packages, "ensure", lambda _layout: None)
    monkeypatch.setattr(binaries, "ensure", lambda _layout, names: asked.extend(names) or {})
    monkeypatch.setattr(images, "ensure", lambda _layout, _image, _built: ("key", oci))
    monkeypatch.setattr(own_images, "run", lambda command: called.append([str(word) for word in command]))
    return asked, called


def test_with_an_own_cluster_make_images_pushes_to_its_registry(built, oci, tmp_path, layout, monkeypatch, capsys):
    tools, called = built
    monkeypatch.setenv("BARBERPRO_REGISTRY", "localhost:5001")
    assert foreign.dispatch(layout, "images") == 0
    references = json.loads((tmp_path / "references.json").read_text())
    assert references["booking"] == "localhost:5001/barberpro/booking@sha256:" + 64 * "a"
    assert [command[-2:] for command in called] == [[f"oci:{oci}:latest", f"docker://localhost:5001/barberpro/{name}:key"] for name in references]
    assert all("--dest-tls-verify=false" in command for command in called)
    # Kubernetes itself is not built, and its images are not wanted.
    assert {"envoy-gateway", "prometheus", "prometheus-operator"} <= set(tools) <= {"envoy-gateway", "prometheus", "prometheus-operator", "vault"}
    assert not set(images.PLATFORM) & set(references)
    assert f"are in localhost:5001, references in {tmp_path / 'references.json'}" in capsys.readouterr().out


def test_a_registry_elsewhere_is_spoken_to_by_tls(built, layout, monkeypatch):
    monkeypatch.setenv("BARBERPRO_REGISTRY", "registry.example/shop/")
    assert foreign.dispatch(layout, "images") == 0
    assert all(command[-1].startswith("docker://registry.example/shop/barberpro/") for command in built[1])
    assert not any("--dest-tls-verify=false" in command for command in built[1])


def test_without_a_registry_nothing_is_built(built, layout, monkeypatch):
    monkeypatch.delenv("BARBERPRO_REGISTRY", raising=False)
    with pytest.raises(ClusterError, match=r"BARBERPRO_REGISTRY is not set; name the registry that the nodes pull from"):
        foreign.dispatch(layout, "images")
    assert built == ([], [])


def test_a_registry_that_takes_nothing_is_named(built, layout, monkeypatch):
    def refuse(_command):
        raise ClusterError("skopeo: connection refused")

    monkeypatch.setenv("BARBERPRO_REGISTRY", "localhost:5001")
    monkeypatch.setattr(own_images, "run", refuse)
    with pytest.raises(ClusterError, match=r"could not be pushed to BARBERPRO_REGISTRY=localhost:5001: skopeo: connection refused; name the registry"):
        foreign.dispatch(layout, "images")
