"""What objects are called, how they are compared, shown, hashed and ordered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils import _diff
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, digest, own_digest, phase_of, ref_of_key
from ansible_collections.barberpro.platform.plugins.module_utils._store import content_hash, numbered
from ansible_collections.barberpro.platform.plugins.module_utils._waves import wave_of
from hypothesis import given
from hypothesis import strategies as st

NAME = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
KIND = st.sampled_from([("v1", "Service"), ("apps/v1", "Deployment"), ("gateway.networking.k8s.io/v1", "HTTPRoute"), ("v1", "Namespace")])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.dictionaries(NAME, inner, max_size=3) | st.lists(inner, max_size=3)
)


@given(kind=KIND, namespace=st.just("") | NAME, name=NAME)
def test_a_key_gives_its_reference_back(kind: tuple[str, str], namespace: str, name: str) -> None:
    ref = Ref(kind[0], kind[1], namespace, name)
    assert ref_of_key(ref.key, ref.api_version) == ref


def test_another_version_is_the_same_object() -> None:
    assert Ref("x.io/v1", "Thing", "a", "b").key == Ref("x.io/v1beta1", "Thing", "a", "b").key == "Thing.x.io a/b"
    assert str(Ref("apps/v1", "Deployment", "a", "b")) == "Deployment a/b"


def test_an_object_without_a_name_is_refused() -> None:
    with pytest.raises(PlatformError, match=r'object \{"apiVersion": "v1", "kind": "Pod", "name": null\}: apiVersion, kind and metadata.name'):
        Ref.of({"apiVersion": "v1", "kind": "Pod"})


def test_phases() -> None:
    obj: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"barberpro.platform/phase": "promotion"}}}
    assert phase_of(obj) == "promotion"
    obj["metadata"]["annotations"]["barberpro.platform/phase"] = "later"
    with pytest.raises(PlatformError, match=r"Pod a: annotation barberpro.platform/phase is 'later'; it must be one of infrastructure"):
        phase_of(obj)


@given(VALUE)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(list(item))}
        return [turned(part) for part in item] if isinstance(item, list) else item

    assert digest(value) == digest(turned(value))


def test_our_digest_is_of_our_own_entry_alone() -> None:
    own = {"manager": "barberpro.platform", "operation": "Apply", "fieldsV1": {"f:a": {}}}
    other = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:b": {}}}
    assert own_digest({"metadata": {"managedFields": [other, own]}}) == own_digest({"metadata": {"managedFields": [own]}})
    assert own_digest({"metadata": {"managedFields": [other]}}) is None
    changed = {**own, "fieldsV1": {}}
    assert own_digest({"metadata": {"managedFields": [own]}}) != own_digest({"metadata": {"managedFields": [changed]}})


def config(name: str, value: str = "@revision@") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-@revision@"}, "data": {"a": value}}


def test_the_same_content_has_the_same_hash_in_any_order() -> None:
    assert content_hash([config("a"), config("b")]) == content_hash([config("b"), config("a")])
    assert content_hash([config("a")]) != content_hash([config("a", "other")])


@given(st.integers(1, 10_000), st.lists(NAME, max_size=4, unique=True))
def test_numbering_leaves_no_token(number: int, names: list[str]) -> None:
    done = numbered([config(name) for name in names], number)
    assert "@revision@" not in json.dumps(done)
    assert [obj["metadata"]["name"] for obj in done] == [f"{name}-r{number}" for name in names]
    assert all(obj["data"]["a"] == f"r{number}" for obj in done)


def test_policy_comes_before_configuration_before_workloads_before_routes() -> None:
    kinds = ["Namespace", "NetworkPolicy", "ConfigMap", "Job", "Deployment", "HTTPRoute"]
    assert [wave_of(kind) for kind in kinds] == sorted({wave_of(kind) for kind in kinds})


def test_a_diff_has_no_bookkeeping_and_no_secrets() -> None:
    before = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "uid": "u",
            "resourceVersion": "1",
            "managedFields": [],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "canary"},
        },
        "data": {"password": "canary", "same": "canary2"},
        "status": {},
    }
    after = {**before, "data": {"password": "canary-new", "same": "canary2"}, "stringData": {"x": "canary"}}
    entry = _diff.entries([("Secret ns/s", before, after)])[0]
    assert entry["before"] != entry["after"]
    for text in (entry["before"], entry["after"]):
        assert "canary" not in text
        assert "resourceVersion" not in text
        assert "managedFields" not in text
    assert _diff.render(None) == ""


def test_errors_of_several_objects_become_one() -> None:
    with pytest.raises(PlatformError, match=r"^one \(and 2 more: two; three\)$"):
        checked([1, PlatformError("one"), PlatformError("two"), PlatformError("three")])
    with pytest.raises(PlatformError, match=r"^one$"):
        checked([PlatformError("one")])
    assert checked([1, 2]) == [1, 2]


def test_conflicts_are_read_from_the_causes() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": "conflict", "field": ".data.b"},
        {"reason": "Other"},
    ]
    error = ApiError(409, {"message": "m", "details": {"causes": causes}}, verb="apply", target="ConfigMap a/b")
    assert error.field_conflicts == [("kubectl-edit", ".data.a"), ("unknown", ".data.b")]
    assert str(error) == "ConfigMap a/b: apply refused by the API server: m"
