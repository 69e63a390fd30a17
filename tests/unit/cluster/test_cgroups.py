"""The node's cgroup in both versions, on folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from barberpro_cluster import cgroups, supervisor
from barberpro_cluster.layout import Layout


@pytest.fixture
def layout(tmp_path):
    return Layout.of(tmp_path / "checkout")


def group(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("")
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return folder


@pytest.fixture
def version_1(tmp_path, layout):
    """Two hierarchies; the kernel makes the files of a new group, so they are there already."""
    for name, files in {"cpu": {"cpu_shares": "1024"}, "memory": {}}.items():
        group(tmp_path / name)
        group(tmp_path / name / layout.cgroup, **files)
        if files:
            group(tmp_path / name / layout.cgroup / "system", **files)
    return tmp_path


def test_pods_and_the_nodes_own_processes_share_what_the_node_gets(version_1, layout):
    cgroups.ensure(layout, version_1)
    assert (version_1 / "cpu" / layout.cgroup / "cpu.shares").read_text() == "8192"
    assert (version_1 / "cpu" / layout.cgroup / "system" / "cpu.shares").read_text() == "1024"
    assert cgroups.system(layout, version_1) == [version_1 / "cpu" / layout.cgroup / "system" / "cgroup.procs"]
    assert not (version_1 / "memory" / layout.cgroup / "system").exists()


def test_version_2_has_weights(tmp_path, layout):
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    own = group(tmp_path / layout.cgroup, cpu_weight="100")
    group(own / "system", cpu_weight="100")
    cgroups.ensure(layout, tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    assert (own / "cgroup.subtree_control").read_text() == "+cpu"
    assert [(own / "cpu.weight").read_text(), (own / "system" / "cpu.weight").read_text()] == ["313", "39"]


def test_the_first_process_joins_before_it_starts_others(version_1, layout, monkeypatch):
    cgroups.ensure(layout, version_1)
    joined = cgroups.system(layout, version_1)
    monkeypatch.setattr(cgroups, "system", lambda _layout: joined)
    assert supervisor.init_script(layout).splitlines()[0] == f"echo 0 > '{joined[0]}'"
