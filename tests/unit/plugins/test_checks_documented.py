"""Every check and every parameter is documented, in the module and on the page made from the code."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.modules import stage_gate

from tests.support import checks_page

PARAGRAPHS = {
    found[1]: text
    for text in yaml.safe_load(stage_gate.DOCUMENTATION)["options"]["checks"]["description"]
    for found in [re.match(r"C\((\w+)\): ", text)]
    if found
}


def test_the_page_is_up_to_date() -> None:
    assert checks_page.PAGE.read_text() == checks_page.page(), "run: python -m tests.support.checks_page"


def test_the_module_lists_exactly_the_checks() -> None:
    assert set(PARAGRAPHS) == set(CHECKS)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_every_check_and_parameter_is_documented(name: str) -> None:
    check = CHECKS[name]
    assert check.doc.endswith(".")
    missing = [key for key in check.params if f"C({key})" not in PARAGRAPHS[name]]
    # What reaches a site and what reaches Prometheus is described once and referred to.
    shared = {"address", "headers", "ca_file", "verify"} if " as of http" in PARAGRAPHS[name] else set()
    shared |= {"namespace", "service", "port", "scheme"} if " as of targets_up" in PARAGRAPHS[name] else set()
    assert not set(missing) - shared
    assert all(param.doc.endswith(".") for param in check.params.values())


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_required_parameters_are_called_so(name: str) -> None:
    for key, param in CHECKS[name].params.items():
        if param.required:
            assert re.search(rf"C\({key}\)[^;]*required", PARAGRAPHS[name]), f"{name}.{key}"
