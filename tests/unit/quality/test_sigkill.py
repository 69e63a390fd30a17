"""How tests kill programs: while they work, all of them or one part; who came to the end is not taken for killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.sigkill import after, killed, killed_later_and_later


def at_work(folder: Path) -> bool:
    """Say whether the part has told its process id."""
    return (folder / "part").exists() and (folder / "part").read_text().endswith("\n")


def test_all_of_a_program_or_one_part_of_it_dies(tmp_path: Path) -> None:
    program = ["sh", "-c", "sh -c 'echo $$ > part; exec sleep 600' || exit 3"]
    assert killed(program, lambda _seconds: at_work(tmp_path), environment=os.environ, folder=tmp_path)
    first = (tmp_path / "part").read_text()
    (tmp_path / "part").unlink()
    part = tmp_path / "part"
    assert killed(program, lambda _seconds: at_work(tmp_path), environment=os.environ, folder=tmp_path, victims=lambda: [int(part.read_text())])
    assert part.read_text() != first


def test_who_comes_to_the_end_has_to_do_well() -> None:
    assert not killed(["true"], after(60), environment=os.environ)
    with pytest.raises(AssertionError, match=r"`sh -c echo why; exit 1` failed by itself:\nwhy"):
        killed(["sh", "-c", "echo why; exit 1"], after(60), environment=os.environ)


def test_runs_are_killed_later_and_later_until_one_ends() -> None:
    # After 1, 2 and 4 seconds; in 8 one that takes 5 has ended.
    assert killed_later_and_later(lambda _number, when: when(5.0), 1.0, 2.0) == 3
