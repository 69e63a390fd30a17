"""Taking a cluster down removes its state, and says so when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from barberpro_cluster import cluster
from barberpro_cluster.errors import ClusterError
from barberpro_cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A checkout with state in two parts."""
    layout = Layout(tmp_path / "checkout", tmp_path / "cache")
    for part in ("etcd", "node"):
        (layout.state / part).mkdir(parents=True)
        (layout.state / part / "file").write_text("")
    return layout


def test_all_of_it_goes(layout: Layout) -> None:
    cluster._remove_state(layout)
    assert not layout.state.exists()


def test_what_is_written_meanwhile_is_told_with_the_next_step(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    removing = cluster.shutil.rmtree

    def busy(path: Path) -> None:
        removing(path / cluster.REMOVED)
        (path / "tests.lock").write_text("")
        path.rmdir()

    monkeypatch.setattr(cluster.shutil, "rmtree", busy)
    with pytest.raises(ClusterError) as told:
        cluster._remove_state(layout)
    assert str(told.value) == (
        f"{layout.state} cannot be removed: Directory not empty; the cluster itself is stopped. "
        "End what still uses this checkout (a test, a playbook), then run `make down` again"
    )
    monkeypatch.undo()
    cluster._remove_state(layout)
    assert not layout.state.exists()
