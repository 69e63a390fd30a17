"""Copies of this checkout, as a clone of it would be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from tests.support.cluster import ROOT


def copy_of_tracked_files(target: Path, without: Collection[str] = ()) -> None:
    """Copy what git tracks, as it is in the work tree, but for the top folders `without`, to `target`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file() and name.split("/")[0] not in without:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
