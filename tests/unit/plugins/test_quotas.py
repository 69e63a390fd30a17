"""Limits compared: which of two allows less."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import tightens


def quota(**hard: str) -> dict[str, Any]:
    return {"kind": "ResourceQuota", "spec": {"hard": hard}}


def limits(**most: str) -> dict[str, Any]:
    return {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": most, "default": {"cpu": "1m"}}]}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (quota(cpu="2"), quota(cpu="2000m"), False),
        (quota(cpu="2"), quota(cpu="1999m"), True),
        (quota(cpu="2", pods="10"), quota(cpu="4", pods="9"), True),
        (quota(cpu="2", pods="10"), quota(cpu="4"), False),
        (quota(cpu="2"), quota(cpu="4", pods="100"), True),
        ({}, quota(cpu="4"), True),
        (limits(memory="1Gi"), limits(memory="2Gi"), False),
        (limits(memory="1Gi"), limits(memory="1000Mi"), True),
    ],
)
def test_less_of_anything_is_tighter_and_what_bounds_nothing_allows_all(before: dict[str, Any], after: dict[str, Any], expected: bool) -> None:
    assert tightens(before, after) is expected
