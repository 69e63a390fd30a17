"""Builds the collection's artifact as it would be published, installs it elsewhere and runs from there by name."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.checkout import copy_of_tracked_files

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml") if not path.name.endswith(".meta.yml"))


def run(command: list[str], cwd: Path, collections: Path | None = None) -> str:
    """Run a command of the environment, with the collections of `collections`, and return its output; fail with all that it printed."""
    empty = cwd / "empty.cfg"
    empty.touch()
    environment = {**os.environ, "ANSIBLE_CONFIG": str(empty), "ANSIBLE_COLLECTIONS_PATH": str(collections or cwd)}
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built artifact."""
    folder = tmp_path_factory.mktemp("build")
    collection = folder / "barberpro"
    copy_of_tracked_files(collection)
    run(["ansible-galaxy", "collection", "build", "--output-path", str(folder / "dist")], collection)
    return next((folder / "dist").glob("barberpro-platform-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections folder that holds nothing but the artifact."""
    folder = tmp_path_factory.mktemp("installed")
    run(["ansible-galaxy", "collection", "install", "--no-deps", "--offline", "-p", str(folder), str(artifact)], folder)
    return folder


def test_artifact_holds_the_collection_and_nothing_of_the_checkout(artifact: Path) -> None:
    with tarfile.open(artifact) as archive:
        names = set(archive.getnames())
    tops = {name.split("/")[0] for name in names}
    command = ["git", "ls-files", "-z", "inventories", "meta", "playbooks", "plugins", "roles"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    assert [name for name in filter(None, tracked) if (ROOT / name).exists() and name not in names] == []
    assert {"COPYING", "README.md", "docs", "inventories", "meta", "playbooks", "plugins", "roles"} <= tops
    assert not tops & {".venv", ".embedded", "cluster", "services", "tests", "molecule", "demo", "Makefile", "pyproject.toml", "reports"}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_installed_playbook_runs_by_its_full_name(installed: Path, playbook: str) -> None:
    output = run(["ansible-playbook", "--syntax-check", "-i", "localhost,", f"barberpro.platform.{playbook}"], installed, installed)
    assert f"{playbook}.yml" in output


def test_installed_modules_are_documented(installed: Path) -> None:
    modules = sorted(f"barberpro.platform.{path.stem}" for path in ROOT.glob("plugins/modules/*.py"))
    output = run(["ansible-doc", "--json", *modules], installed, installed)
    assert all(f'"{module}"' in output for module in modules)
