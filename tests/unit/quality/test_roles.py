"""The rules that every role keeps: specs equal defaults, prefixes, sizes, verticals without tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/defaults/main.yml"))
TASK_FILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("roles/*/tasks/**/*.yml"))
VERTICALS = sorted(
    name for name in ROLES
    if f"{name}_workloads" in (yaml.safe_load((ROOT / "roles" / name / "defaults" / "main.yml").read_text()) or {})
)


def load(role: str, *parts: str) -> Any:
    """Return the parsed YAML file of a role, or an empty dict when the role has none."""
    path = ROOT.joinpath("roles", role, *parts)
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def spec_options(role: str) -> dict[str, Any]:
    """Return the options of the role's main entry point."""
    return load(role, "meta", "argument_specs.yml").get("argument_specs", {}).get("main", {}).get("options", {})


def test_there_are_roles() -> None:
    assert {"pipeline", "platform", "tenant", "database", "dns_tls", "monitoring", "vertical_base", "barbershop"} <= set(ROLES)
    assert {"vertical_base", "barbershop"} <= set(VERTICALS)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_spec_have_the_same_keys(role: str) -> None:
    optional = {name for name, option in spec_options(role).items() if not option.get("required")}
    assert set(load(role, "defaults", "main.yml")) == optional, f"role {role}: defaults/main.yml against meta/argument_specs.yml"


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_spec_have_the_same_values(role: str) -> None:
    defaults = load(role, "defaults", "main.yml")
    options = spec_options(role)
    different = {
        name: {"defaults/main.yml": value, "meta/argument_specs.yml": options[name].get("default", "(no default)")}
        for name, value in defaults.items()
        if name in options and options[name].get("default", "(no default)") != value
    }
    assert different == {}, f"role {role}"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_has_a_type_and_a_description(role: str) -> None:
    bare = [name for name, option in spec_options(role).items() if not option.get("type") or not option.get("description")]
    assert bare == [], f"role {role}"


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_carry_the_role_name(role: str) -> None:
    assert [name for name in load(role, "defaults", "main.yml") if not name.startswith(f"{role}_")] == []
    assert [name for name in load(role, "vars", "main.yml") if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("path", TASK_FILES)
def test_task_file_is_short_and_hides_no_failure(path: str) -> None:
    text = (ROOT / path).read_text()
    assert len(text.splitlines()) <= 100, f"{path}: split it"
    for hiding in ("ignore_errors:", "failed_when: false"):
        assert hiding not in text, f"{path}: {hiding} hides failures"


@pytest.mark.parametrize("role", VERTICALS)
def test_a_vertical_is_data_and_templates_only(role: str) -> None:
    assert not list(ROOT.glob(f"roles/{role}/tasks/*")), f"role {role}: verticals are data; work belongs to the pipeline"
