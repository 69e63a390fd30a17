"""A cluster of the user's own: where its facts are, and the archives of images for its nodes."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from barberpro_cluster import archives, binaries, foreign, images, packages
from barberpro_cluster.layout import Layout, facts_file
from demo import summary

ROOT = Path(__file__).resolve().parents[3]
PINNED = "localhost/barberpro/{}@sha256:" + 64 * "a"


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


def test_an_archive_carries_the_name_that_pods_give(oci, tmp_path):
    archives.write(oci, "booking", tmp_path / "out" / "booking.tar")
    with tarfile.open(tmp_path / "out" / "booking.tar") as archive:
        assert {"index.json", "oci-layout", f"blobs/sha256/{64 * 'a'}"} <= set(archive.getnames())
        annotations = json.load(archive.extractfile("index.json"))["manifests"][0]["annotations"]
    assert annotations == {"io.containerd.image.name": PINNED.format("booking"), "org.opencontainers.image.ref.name": PINNED.format("booking")}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["booking.tar"]


def test_with_an_own_cluster_make_images_writes_archives(oci, tmp_path, layout, monkeypatch, capsys):
    tools = []
    monkeypatch.setenv("BARBERPRO_KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(archives, "folder_of", lambda _layout: tmp_path / "out")
    monkeypatch.setattr(packages, "ensure", lambda _layout: None)
    monkeypatch.setattr(binaries, "ensure", lambda _layout, names: tools.extend(names) or {})
    monkeypatch.setattr(images, "ensure", lambda _layout, _image, _built: ("key", oci))
    assert foreign.dispatch(layout, "images") == 0
    references = json.loads((tmp_path / "out" / "references.json").read_text())
    assert references["booking"] == PINNED.format("booking")
    assert {f"{name}.tar" for name in references} == {path.name for path in (tmp_path / "out").glob("*.tar")}
    # Kubernetes itself is not built, and its images are not wanted.
    assert {"envoy-gateway", "prometheus", "prometheus-operator"} <= set(tools) <= {"envoy-gateway", "prometheus", "prometheus-operator", "vault"}
    assert not set(images.PLATFORM) & set(references)
    assert f"archives in {tmp_path / 'out'}" in capsys.readouterr().out

    assert foreign.dispatch(layout, "images") == 0
    assert "nothing changed" in capsys.readouterr().out
