"""What `make cluster` does with the processes of a node that runs."""

from __future__ import annotations

import pytest

from barberpro_cluster import supervisor
from barberpro_cluster.layout import Layout

PROGRAMS = [supervisor.Program("agent", ["agent", "--now"])]


@pytest.fixture
def asked(monkeypatch):
    """What supervisorctl is asked, and what it answers next."""
    found = {"words": [], "answers": []}

    def control(_layout, *words):
        found["words"].append(words)
        answer = found["answers"].pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(supervisor, "init_pid", lambda _layout: 7)
    monkeypatch.setattr(supervisor, "control", control)
    return found


def test_what_an_interrupted_run_left_undone_is_done_by_the_next(asked, tmp_path):
    layout = Layout(checkout=tmp_path / "shop", cache=tmp_path / "cache")
    asked["answers"] = [KeyboardInterrupt(), "agent: added process group\n", ""]
    with pytest.raises(KeyboardInterrupt):
        supervisor.ensure(layout, PROGRAMS)
    # The configuration is as wanted by now, and the program is not.
    assert supervisor.ensure(layout, PROGRAMS) is True
    assert supervisor.ensure(layout, PROGRAMS) is False
    assert asked["words"] == [("update",)] * 3
