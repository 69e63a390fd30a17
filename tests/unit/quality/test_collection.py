"""The rules that the collection keeps as a whole: complete metadata, documented modules, short playbooks, clean files."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
PLAYBOOKS = sorted(path.stem for path in ROOT.glob("playbooks/*.yml") if not path.name.endswith(".meta.yml"))
PYTHON = sorted(
    str(path.relative_to(ROOT))
    for folder in ("plugins", "services", "cluster", "tests", "demo")
    for path in ROOT.glob(f"{folder}/**/*.py")
)

# Written in pieces, so that this file does not contain what it forbids.
REGISTRY_HOSTS = [
    "py" + "pi.org", "pythonhosted" + ".org", "proxy." + "golang.org", "npmjs" + ".org", "maven." + "apache.org", "repo1." + "maven.org",
    "crates" + ".io", "deb." + "debian.org", "galaxy." + "ansible.com",
]


def tracked_files() -> list[Path]:
    """Return the files that git tracks, without lock files and checksums, which are made by tools."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in {".lock", ".sum", ".png", ".svg"}]


def yaml_of(path: str) -> Any:
    """Return the parsed YAML file at `path` below the root."""
    return yaml.safe_load((ROOT / path).read_text())


def documentation(module: str, variable: str) -> Any:
    """Return the parsed YAML text that a module assigns to `variable`, None when it assigns none."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == variable:
            return yaml.safe_load(ast.literal_eval(node.value))
    return None


def test_action_group_names_every_module() -> None:
    assert yaml_of("meta/runtime.yml")["action_groups"]["all"] == MODULES


def test_requirements_equal_the_dependencies_of_the_collection() -> None:
    wanted = {entry["name"]: entry["version"] for entry in yaml_of("requirements.yml")["collections"]}
    assert wanted == yaml_of("galaxy.yml")["dependencies"]


# A module or a group of them as a key, a filter, and what takes the name of a plugin.
FULL_NAME = re.compile(
    r"^\s*(?:- )?(?:group/)?([a-z]\w*\.[a-z]\w*)\.[a-z][\w.]*:(?:\s|$)"
    r"|(?:(?<!\|)\|\s*|\b(?:lookup|query|q|map|select|reject)\(\s*['\"])([a-z]\w*\.[a-z]\w*)\.[a-z]\w*",
    re.MULTILINE,
)


def collections_used(text: str) -> set[str]:
    """Return the collections whose plugins a YAML file or a template names."""
    return {key or plugin for key, plugin in FULL_NAME.findall(text)}


def test_full_names_are_found_where_they_can_stand() -> None:
    text = """
    - name: Change
      a.one.module:
        value: "{{ x | a.two.filter | map('a.three.filter') }} {{ query('a.four.lookup') }} {{ not.a.name }}"
      module_defaults: {}
      group/a.five.acme:
    """
    assert collections_used(text) == {"a.one", "a.two", "a.three", "a.four", "a.five"}


def test_every_collection_that_is_used_is_a_dependency() -> None:
    declared = {*yaml_of("galaxy.yml")["dependencies"], "ansible.builtin", "barberpro.platform"}
    files = [path for folder in ("roles", "playbooks") for path in ROOT.glob(f"{folder}/**/*") if path.suffix in {".yml", ".j2"}]
    used = {str(path.relative_to(ROOT)): collections_used(path.read_text()) - declared for path in files}
    assert {path: names for path, names in used.items() if names} == {}


def execution_environment() -> dict[str, str]:
    """What ansible-builder takes into an execution environment, as paths from the root."""
    described = yaml_of("meta/execution-environment.yml")
    assert described["version"] == 3
    dependencies: dict[str, str] = described["dependencies"]
    assert set(dependencies) == {"python", "system"}
    return dependencies


def test_programs_of_the_execution_environment_are_listed() -> None:
    assert "kubernetes-client [platform:fedora platform:debian]" in (ROOT / execution_environment()["system"]).read_text().splitlines()


def test_python_packages_of_the_collections_that_are_used_are_required() -> None:
    required = {re.split(r"[\[>=<]", line)[0] for line in (ROOT / execution_environment()["python"]).read_text().splitlines()}
    assert {"kubernetes", "psycopg2-binary", "dnspython", "cryptography", "boto3", "botocore"} <= required


def test_versions_agree() -> None:
    version = yaml_of("galaxy.yml")["version"]
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert version in yaml_of("changelogs/changelog.yaml")["releases"]


@pytest.mark.parametrize("module", MODULES)
def test_module_documents_itself(module: str) -> None:
    text = documentation(module, "DOCUMENTATION")
    assert {"check_mode", "diff_mode", "idempotent"} <= set(text["attributes"]), f"{module}: attributes"
    assert documentation(module, "RETURN"), f"{module}: RETURN"
    examples = documentation(module, "EXAMPLES")
    assert examples, f"{module}: EXAMPLES"
    assert all(f"barberpro.platform.{module}" in task for task in examples), f"{module}: EXAMPLES with the full name"


@pytest.mark.parametrize("module", MODULES)
def test_module_is_thin(module: str) -> None:
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    code = [node for node in tree.body if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant))]
    lines = sum((node.end_lineno or 0) - node.lineno + 1 for node in code)
    assert lines <= 150, f"{module}: {lines} lines of code; logic belongs to module_utils"


class SpecTaken(Exception):
    """Raised instead of running a module, with the argument spec that it declares."""


def argument_spec(module: str) -> dict[str, Any]:
    """Return the argument spec with which the module makes its AnsibleModule."""
    def take(*, argument_spec: dict[str, Any], **others: Any) -> None:
        raise SpecTaken(argument_spec)

    plugin = importlib.import_module(f"ansible_collections.barberpro.platform.plugins.modules.{module}")
    with pytest.raises(SpecTaken) as taken:
        plugin.main(take)
    return taken.value.args[0]


def undecided(spec: dict[str, Any]) -> list[str]:
    """Return the options, suboptions included, that sound like a secret and say neither no_log true nor false."""
    sounds = re.compile(r"token|password|secret|credential|private_key|passphrase")
    names = [name for name, option in spec.items() if sounds.search(name) and "no_log" not in option]
    return names + [name for option in spec.values() for name in undecided(option.get("options") or {})]


@pytest.mark.parametrize("module", MODULES)
def test_options_that_sound_secret_have_a_no_log_decision(module: str) -> None:
    assert undecided(argument_spec(module)) == []


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_is_short_documented_and_runs_by_its_own_name(playbook: str) -> None:
    assert len((ROOT / "playbooks" / f"{playbook}.yml").read_text().splitlines()) <= 60, f"{playbook}: a playbook composes, roles work"
    (spec,) = yaml_of(f"playbooks/{playbook}.meta.yml")["argument_specs"].values()
    assert spec["short_description"]
    assert all(option.get("type") and option.get("description") for option in spec.get("options", {}).values()), f"{playbook}: options"
    shim = yaml_of(f"{playbook}.yml")
    assert [play.get("ansible.builtin.import_playbook") for play in shim] == [f"barberpro.platform.{playbook}"]


@pytest.mark.parametrize("path", PYTHON)
def test_python_file_is_short(path: str) -> None:
    # Tables of cases may be longer than code.
    limit = 400 if path.startswith("tests/") else 300
    assert len((ROOT / path).read_text().splitlines()) <= limit, f"{path}: more than {limit} lines; split it by purpose"


def test_python_files_of_the_collection_carry_the_licence() -> None:
    header = "GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)"
    without = [
        str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/**/*.py")
        if path.read_text().strip() and header not in path.read_text()[:600]
    ]
    assert without == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {host}" for path in tracked_files() for host in REGISTRY_HOSTS if host in path.read_text(errors="replace")
    }
    assert found == set()


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    forbidden = re.compile(r"pytest\.(?:mark\.)?(?:skip|xfail|importorskip)")
    found = {str(path.relative_to(ROOT)) for path in tracked_files() if path.suffix == ".py" and forbidden.search(path.read_text())}
    assert found == set()


def test_code_has_plain_quotes() -> None:
    typographic = re.compile("[\u2018\u2019\u201c\u201d]")
    found = {
        str(path.relative_to(ROOT)) for path in tracked_files()
        if path.suffix in {".py", ".go", ".yml", ".yaml", ".j2", ".toml"} and typographic.search(path.read_text())
    }
    assert found == set()
