"""Drift: which objects are not as a run left them, and who changed them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._apply import Entry
from ansible_collections.barberpro.platform.plugins.module_utils._info import _drift
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, own_digest

OURS = {"manager": "barberpro.platform", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}}


def manager(name: str, minute: int, **more: Any) -> dict[str, Any]:
    return {"manager": name, "operation": "Update", "time": f"2026-01-01T00:{minute:02}:00Z", **more}


def drift(*managers: dict[str, Any], changed: bool = True) -> list[str]:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "ns", "name": "config", "uid": "1", "managedFields": [OURS, *managers]}}
    entry = Entry("1", "asked", "before" if changed else own_digest(obj), "v1", "")
    return _drift({Ref.of(obj).key: entry}, {Ref.of(obj).key: obj})


@pytest.mark.parametrize(
    ("managers", "who"),
    [
        ([manager("kubectl-edit", 1)], "kubectl-edit"),
        ([manager("kubectl-edit", 1), manager("kubectl", 3, subresource="scale"), manager("other", 2)], "kubectl"),
        ([manager("kubectl-edit", 1), manager("kube-controller-manager", 9, subresource="status")], "kubectl-edit"),
        ([{"manager": "timeless"}, manager("kubectl-edit", 1)], "kubectl-edit"),
        ([manager("kube-controller-manager", 9, subresource="status")], "others"),
        ([], "others"),
    ],
)
def test_the_newest_other_manager_is_named(managers: list[dict[str, Any]], who: str) -> None:
    assert drift(*managers) == [f"ConfigMap ns/config was changed by {who}"]


def test_fields_of_others_are_no_drift() -> None:
    assert drift(manager("kubectl-edit", 1), changed=False) == []
