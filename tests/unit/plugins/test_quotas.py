"""Limits compared: which of two allows less. How long a quota is waited for that its controller does not tell yet."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _quotas
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import tightens
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

TIER = Ref("v1", "ResourceQuota", "tenant-a", "tier")


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


class Behind(Resources):
    """A cluster whose quota controller tells a quota's new limit that many seconds from now, on a clock that only waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.seconds, self.asked = 0.0, seconds, 0
        monkeypatch.setattr(_quotas, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        monkeypatch.setattr(_quotas, "_ask_to_count", self.ask)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, _resources: Resources, namespace: str) -> None:
        assert namespace == TIER.namespace
        self.asked += 1

    def get(self, ref: Ref) -> dict[str, Any]:
        assert ref == TIER
        told = "9" if self.now < self.seconds else "3"
        return {"spec": {"hard": {"pods": "3"}}, "status": {"hard": {"pods": told}, "used": {"pods": "0"}}}


def test_a_controller_that_lost_the_server_time_and_again_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Behind(monkeypatch, 140.0)
    _quotas.await_live(cluster, [TIER], 300.0, {})
    assert 140 <= cluster.now < 141
    # It is asked now and then, not at each look.
    assert 40 <= cluster.asked <= 47


@pytest.mark.parametrize(("deadline", "said"), [(1000.0, "150"), (20.0, "20")])
def test_one_that_never_tells_is_given_up_within_the_step_s_time(monkeypatch: pytest.MonkeyPatch, deadline: float, said: str) -> None:
    with pytest.raises(PlatformError) as refused:
        _quotas.await_live(Behind(monkeypatch, 5000.0), [TIER], deadline, {})
    assert re.match(f"ResourceQuota tenant-a/tier does not bind after {said} s: status.hard says pods 9, spec.hard 3; see whether ", str(refused.value))
