"""What the owner may not create he cannot make of what is there either, nor of what is on its way out; and who clears away is not kept from it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._client import MERGE
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

from tests.support.waiting import until

from .baseline import changed, good, named, pod_spec
from .conftest import DEPLOYER, GUARD_LABEL, REGISTRY, Guarded, Identity, identity
from .test_guard_rails import TABLE, Mutant

pytestmark = pytest.mark.simulated
HOLD = "guarded.test/hold"
# What the API server itself says of a field that stays as it was made, before any policy is asked.
FIXED = ("is invalid", "cannot change roleRef")
# Of which kinds it may say so; of all others the control must be the one that refuses.
FIXED_KINDS = ("pod", "job", "statefulset", "claim")
STATES = ("live", "ending")


@pytest.fixture(scope="module")
def made(shop: Guarded, owner: Identity, admin: Resources) -> Iterator[dict[tuple[str, str], Ref]]:
    """One good object of each kind that serves, and one that has been deleted and is held by a finalizer; by kind and state."""
    refs = {}
    try:
        for kind, obj in good(shop).items():
            for state in STATES:
                obj["metadata"] = {**obj["metadata"], "name": state}
                if (kind, state) == ("pod", "ending"):
                    # On a node it would go: the simulated kubelet takes finalizers off.
                    obj["spec"]["nodeSelector"] = {"guarded.test/node": "none"}
                if state == "live":
                    assert owner.create(obj, dry_run=False) == "", kind
                else:
                    admin.create({**obj, "metadata": {**obj["metadata"], "finalizers": [HOLD]}})
                    admin.delete(Ref.of(obj))
                refs[kind, state] = Ref.of(obj)
        yield refs
    finally:
        for ref in refs.values():
            let_go(admin, ref)


def let_go(who: Resources, ref: Ref) -> str:
    """Take the finalizers off an object and return what is said against it; one that serves goes too."""
    with contextlib.suppress(ApiError):
        who.delete(ref)
    live = who.get(ref)
    path = who.path(ref.api_version, ref.kind, ref.namespace, ref.name)
    if live is not None and live["metadata"].get("finalizers"):
        return Identity(who)._asked("PUT", path, body={**live, "metadata": {**live["metadata"], "finalizers": []}})
    return ""


def put(who: Identity, admin: Resources, ref: Ref, path: str, value: Any, host: str) -> str:
    """Replace an object by itself with one field changed, by dry run; anew where a controller has written it meanwhile."""
    there = who.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name, query={"dryRun": "All"})

    def ask() -> str:
        live = admin.get(ref)
        assert live is not None
        wanted = value
        if isinstance(value, list) and "{host}" in str(value):
            wanted = [name.format(host=host) for name in value]
        if path == "metadata.finalizers":
            wanted = [*live["metadata"].get("finalizers", []), *value]
        return who._asked("PUT", there, body=changed(live, path, wanted))

    return until(ask, f"{ref} to stay as it is for a moment", good=lambda said: "the object has been modified" not in said)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("row", TABLE, ids=[f"{row[2]}-{row[3]}-{number}" for number, row in enumerate(TABLE)])
def test_one_field_changed_is_refused(
    row: Mutant, state: str, made: dict[tuple[str, str], Ref], shop: Guarded, owner: Identity, stranger: Identity, admin: Resources
) -> None:
    control, says, kind, path, value = row
    ref = made[kind, state]
    # The owner may not update Secrets; who may is refused all the same.
    said = put(stranger if kind == "secret" else owner, admin, ref, path, value, shop.host)
    if any(words in said for words in FIXED) and (kind in FIXED_KINDS or path in ("roleRef", "metadata.finalizers", "spec.selector")):
        return
    assert says.format(host=shop.host, namespace=shop.namespace) in said
    if control.startswith("control "):
        assert f"{control}: {ref.kind} {ref.namespace}/{ref.name}" in said


def test_the_end_of_a_pod_is_not_put_off_by_who_deletes_it(shop: Guarded, owner: Identity, admin: Resources, made: dict[tuple[str, str], Ref]) -> None:
    ref = made["pod", "live"]
    path = owner.resources.path(ref.api_version, ref.kind, ref.namespace, ref.name)
    for seconds, way in ((301, "body"), (31536000, "body"), (301, "query")):
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": seconds, "dryRun": ["All"]}
        said = (
            owner._asked("DELETE", path, body=options) if way == "body" else owner._asked("DELETE", f"{path}?dryRun=All&gracePeriodSeconds={seconds}")
        )
        assert f"control removal: the deletion of Pod {shop.namespace}/live with gracePeriodSeconds {seconds} would keep whoever removes" in said
    assert owner._asked("DELETE", path, body={"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 300, "dryRun": ["All"]}) == ""
    assert owner.delete(ref) == ""


def test_pods_of_the_tenants_own_jobs_may_be_changed(shop: Guarded, owner: Identity, admin: Resources) -> None:
    pod = named(shop, "v1", "Pod", "of-a-job", spec=pod_spec())
    pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = "their-own"
    admin.create(pod)
    try:
        assert owner.patch(Ref.of(pod), {"metadata": {"labels": {"app": "renamed"}}}) == ""
        said = owner.patch(Ref.of(pod), {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "another"}}})
        assert "carries the label batch.kubernetes.io/controller-uid, which only the platform gives" in said
    finally:
        let_go(admin, Ref.of(pod))


@pytest.mark.parametrize("kind", ["job", "cronjob"])
def test_labels_that_the_api_server_gives_a_job_are_not_in_its_owner_s_way(
    kind: str, shop: Guarded, owner: Identity, admin: Resources, made: dict[tuple[str, str], Ref]
) -> None:
    assert put(owner, admin, made[kind, "live"], "metadata.labels", {"app": "renamed"}, shop.host) == ""


@pytest.mark.parametrize("kind", ["route", "service", "deployment"])
def test_who_clears_away_is_not_asked_what_it_once_asked_for(kind: str, shop: Guarded, admin: Resources, made: dict[tuple[str, str], Ref]) -> None:
    cleaner = identity(shop.kubeconfig, f"stranger@{shop.name}", "guarded:admins")
    assert put(cleaner, admin, made[kind, "ending"], "metadata.labels", {"app": "renamed"}, shop.host) == ""
    assert let_go(cleaner.resources, made[kind, "ending"]) == ""


def test_what_was_there_before_a_rule_is_not_in_the_way_of_the_controllers(shop: Guarded, admin: Resources) -> None:
    # The policies look by a label at the namespace, so without it an object is as one that was made before them.
    old = named(shop, "v1", "Pod", "old", spec={**pod_spec(), "terminationGracePeriodSeconds": 4000, "nodeName": "none"})
    old["metadata"]["finalizers"] = [HOLD]
    like_it = {**old, "metadata": {**old["metadata"], "name": "like-it"}}
    space = admin.path("v1", "Namespace", "", shop.namespace)

    def label(value: str | None, refused: bool) -> None:
        """Set the label, and return when the policies know it."""
        admin.client.request("PATCH", space, body={"metadata": {"labels": {GUARD_LABEL: value}}}, content_type=MERGE)
        what = f"objects like it to be {'refused' if refused else 'admitted'}"
        until(lambda: Identity(admin).create(like_it), what, good=lambda said: ("control removal: " in said) is refused)

    try:
        label(None, refused=False)
        admin.create(old)
    finally:
        label(shop.name, refused=True)
    jobs = identity(shop.kubeconfig, "system:serviceaccount:kube-system:job-controller", "system:serviceaccounts:kube-system")
    assert jobs.patch(Ref.of(old), {"metadata": {"finalizers": []}}) == ""
    let_go(admin, Ref.of(old))


def test_the_deployer_keeps_its_rules_in_updates_too(shop: Guarded, made: dict[tuple[str, str], Ref], admin: Resources) -> None:
    deployer = identity(shop.kubeconfig, DEPLOYER)
    said = put(deployer, admin, made["deployment", "live"], "spec.template.spec.containers.0.image", f"{REGISTRY}/booking:1", shop.host)
    assert f"control images: Deployment {shop.namespace}/live: image {REGISTRY}/booking:1 is neither pinned by digest nor pulled always" in said
