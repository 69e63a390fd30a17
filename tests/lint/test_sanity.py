"""Runs ansible-test sanity, which accepts only a tree below ansible_collections/NAMESPACE/NAME, on a copy of the tracked files.

It fetches a pip bootstrap script from a host that a closed network does not reach; a script that calls ensurepip is put into
its cache instead. Home, and so that cache and its virtual environments, is a folder of our own that later runs reuse.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import copy_of_tracked_files

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "barberpro" / "sanity"

BOOTSTRAP = """\
import ensurepip
ensurepip.bootstrap(upgrade=True, default_pip=True)
"""

# Not of a Python collection: PowerShell's.
NOT_OURS = ["pslint"]

# No part of the collection, and of other rules: Go sources, Kubernetes manifests of many documents, applications in containers.
# ruff, mypy and yamllint judge them in test_linters.py.
BESIDE_THE_COLLECTION = {"benchmarks", "cluster", "services"}


def pip_version_wanted() -> str:
    """Return the pip version whose bootstrap script this ansible-test asks for."""
    text = (Path(sys.prefix) / "lib/python3.11/site-packages/ansible_test/_internal/python_requirements.py").read_text()
    return text.split("pip='", 1)[1].split("'", 1)[0]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_sanity_passes_without_ignores(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections" / "barberpro" / "platform"
    copy_of_tracked_files(collection, without=BESIDE_THE_COLLECTION)
    assert not list(collection.glob("tests/sanity/ignore-*")), "sanity findings are repaired, not ignored"
    bootstrap = CACHE / ".ansible" / "test" / "cache" / f"get_pip_{pip_version_wanted().replace('.', '_')}.py"
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    bootstrap.write_text(BOOTSTRAP)
    environment = {
        **os.environ,
        "HOME": str(CACHE),
        "PIP_CACHE_DIR": str(CACHE / "pip"),
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
    }
    skip = [argument for name in NOT_OURS for argument in ("--skip-test", name)]
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-test"), "sanity", "--python", "3.11", "--color", "no", *skip],
        cwd=collection, env=environment, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
