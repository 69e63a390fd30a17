"""The documents name every playbook and variable, and none of their links is dead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/*.md")])
PAGES = {"deploy_platform": "platform", "deploy_vertical": "deploy", "rollback_vertical": "rollback"}
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml") if not path.name.endswith(".meta.yml"))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_has_a_page_that_names_all_its_variables(playbook: str) -> None:
    page = (ROOT / "docs" / "operations" / f"{PAGES.get(playbook, playbook)}.md").read_text()
    assert f"{playbook}.yml" in page
    (spec,) = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.meta.yml").read_text())["argument_specs"].values()
    assert [name for name in spec.get("options", {}) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith(("http", "#"))]
    assert [link for link in links if link and not (ROOT / document).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, "Makefile", "benchmarks/benchmarks.mk", "cluster/cluster.mk"])
def test_named_files_and_tests_exist(document: str) -> None:
    named = re.findall(r"(?<![\w/.-])((?:tests|services|plugins|benchmarks|demo)/[\w./*-]*[\w*])(?:::(\w+))?", (ROOT / document).read_text())
    assert [path for path, _test in named if not list(ROOT.glob(path))] == []
    assert [test for path, test in named if test and f"def {test}(" not in (ROOT / path).read_text()] == []


def test_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [
        str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")
        if path.name != "README.md" and f"({path.relative_to(ROOT / 'docs')})" not in index
    ]
    assert missing == []


@pytest.mark.parametrize("role", sorted(path.name for path in ROOT.glob("roles/*")))
def test_architecture_or_readme_names_every_role(role: str) -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "architecture.md").read_text()
    assert re.search(rf"\b{role}\b", text), f"role {role} is nowhere explained"


def test_readme_has_what_certified_content_must_have() -> None:
    text = (ROOT / "README.md").read_text()
    wanted = [
        "Description", "Requirements", "Installation", "Use Cases", "Testing", "Contributing", "Support", "Release Notes and Roadmap",
        "Related Information", "License Information",
    ]  # fmt: skip
    assert [heading for heading in re.findall(r"^## (.+)$", text, re.MULTILINE) if heading in wanted] == wanted
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    for command in ("", " --upgrade", f":=={version}"):
        assert f"\nansible-galaxy collection install barberpro.platform{command}\n" in text


def test_programs_that_playbooks_call_are_told_and_installed_where_they_are_packaged() -> None:
    programs = {"kubectl": "kubernetes-client [platform:fedora platform:debian]", "helm": "helm [platform:fedora]"}
    requirements = (ROOT / "README.md").read_text().split("## Requirements")[1].split("\n## ")[0]
    assert [name for name in programs if f"`{name}`" not in requirements] == []
    assert set(programs.values()) <= set((ROOT / "meta" / "ee-bindep.txt").read_text().splitlines())


def test_every_make_target_is_explained_by_make_help() -> None:
    targets = re.findall(r"^([a-z][a-z0-9-]*):(?!=)([^\n]*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name, rest in targets if "## " not in rest] == []


def test_makefile_is_a_table_of_contents() -> None:
    assert len((ROOT / "Makefile").read_text().splitlines()) <= 150
