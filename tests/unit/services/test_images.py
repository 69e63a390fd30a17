"""Lock files and Containerfiles keep what the README promises."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[3] / "services"
NAMES = ("booking", "walkin_queue")


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_has_every_dependency_with_hashes_and_no_address(name):
    lock = (SERVICES / name / "requirements.lock").read_text()
    assert "://" not in lock
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    blocks = re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    for project in (name, "common"):
        wanted = tomllib.loads((SERVICES / project / "pyproject.toml").read_text())["project"]["dependencies"]
        names = {re.split(r"[\[<>=]", item)[0] for item in wanted} - {"barberpro-service"}
        assert names <= set(pinned)


@pytest.mark.parametrize("name", NAMES)
def test_the_image_is_unprivileged_and_its_base_can_be_chosen(name):
    text = (SERVICES / name / "Containerfile").read_text()
    assert "ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm" in text
    assert text.count("FROM ${BASE_IMAGE}") == 2
    assert "USER 10001:10001" in text
    assert "--require-hashes" in text
    assert 'ENTRYPOINT ["python", "-m", "barberpro_' in text


@pytest.mark.parametrize("path", sorted(SERVICES.rglob("*.html")), ids=lambda path: path.name)
def test_pages_have_nothing_that_the_policy_would_block(path):
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_image_says_which_migrations_it_brings(name):
    """A deploy reads this label before it runs anything of the image."""
    package = {"booking": "barberpro_booking", "walkin_queue": "barberpro_walkin"}[name]
    migrations = importlib.import_module(f"{package}.migrations").MIGRATIONS
    said = re.findall(r'platform\.barberpro\.migrations="([^"]*)"', (SERVICES / name / "Containerfile").read_text())
    assert said == [f"{migrations.version_table}={migrations.head()}"]
