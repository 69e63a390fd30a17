# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What objects are called and where they live: references, resource paths, and the verbs on them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import APPLY, MANAGER, Client, url_path
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError, Unreachable
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response

PREFIX = "barberpro.platform"
TENANT_LABEL = f"{PREFIX}/tenant"
PHASE_ANNOTATION = f"{PREFIX}/phase"
PHASES = ("infrastructure", "workloads", "promotion", "monitoring")
SYSTEM_NAMESPACE = "barberpro-system"

# Who may not escalate may bind a role only once the API server's cache knows it, and that lags behind the role's creation.
_BINDINGS = frozenset({"RoleBinding", "ClusterRoleBinding"})
_ROLE_CACHE_SECONDS = 15.0
# How often a write is tried of which nobody knows whether it was carried out.
_ONCE_ATTEMPTS = 3

# What is answered without spec and status.
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

# Kinds of every cluster: (plural, namespaced). Others are discovered, one request a group version.
_KNOWN: dict[tuple[str, str], tuple[str, bool]] = {
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Node"): ("nodes", False),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Service"): ("services", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "ResourceQuota"): ("resourcequotas", True),
    ("v1", "LimitRange"): ("limitranges", True),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Event"): ("events", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "StatefulSet"): ("statefulsets", True),
    ("apps/v1", "DaemonSet"): ("daemonsets", True),
    ("apps/v1", "ReplicaSet"): ("replicasets", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("batch/v1", "CronJob"): ("cronjobs", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("rbac.authorization.k8s.io/v1", "Role"): ("roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("rolebindings", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): ("clusterroles", False),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("clusterrolebindings", False),
    ("policy/v1", "PodDisruptionBudget"): ("poddisruptionbudgets", True),
    ("coordination.k8s.io/v1", "Lease"): ("leases", True),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("horizontalpodautoscalers", True),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): ("httproutes", True),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): ("servicemonitors", True),
    ("monitoring.coreos.com/v1", "PrometheusRule"): ("prometheusrules", True),
}


@dataclass(frozen=True, order=True)
class Ref:
    """One object: ``api_version`` ("apps/v1"), ``kind``, ``namespace`` ("" for a cluster's own) and ``name``."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        """Return the reference of an object. Raises PlatformError when it does not say what it is."""
        metadata = obj.get("metadata") or {}
        if not obj.get("apiVersion") or not obj.get("kind") or not metadata.get("name"):
            shown = json.dumps({"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "name": metadata.get("name")})
            raise PlatformError(f"object {shown}: apiVersion, kind and metadata.name are needed; correct the template that made it")
        return cls(str(obj["apiVersion"]), str(obj["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]))

    @property
    def group(self) -> str:
        """Return the API group, "" for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def key(self) -> str:
        """Return the name used in records. It leaves the version out: another version of a kind is the same object."""
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.path}"

    @property
    def path(self) -> str:
        """Return "namespace/name", or the name alone for a cluster's own object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


def ref_of_key(key: str, api_version: str) -> Ref:
    """Return the reference that has this ``key`` (see Ref.key)."""
    kind, _sep, path = key.partition(" ")
    namespace, _sep, name = path.rpartition("/")
    return Ref(api_version, kind.partition(".")[0], namespace, name)


def phase_of(obj: Mapping[str, Any]) -> str:
    """Return the phase that an object says it belongs to; "workloads" when it says none. Raises PlatformError for an unknown one."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    phase = str(annotations.get(PHASE_ANNOTATION) or "workloads")
    if phase not in PHASES:
        raise PlatformError(f"{Ref.of(obj)}: annotation {PHASE_ANNOTATION} is {phase!r}; it must be one of {', '.join(PHASES)}")
    return phase


def digest(value: Any) -> str:
    """Return a hash of a JSON value that does not depend on the order of keys (40 hex digits of SHA-256)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def own_digest(obj: Mapping[str, Any]) -> str | None:
    """Return a digest of our own managedFields entry, None when there is none: it changes when anybody changes a field of ours."""
    entry = _own_entry(obj)
    return digest([entry.get("apiVersion"), entry.get("time"), entry.get("fieldsV1")]) if entry else None


def own_fields(obj: Mapping[str, Any]) -> Any:
    """Return which fields our own managedFields entry holds, None when there is none."""
    return _own_entry(obj).get("fieldsV1")


def _own_entry(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = (obj.get("metadata") or {}).get("managedFields") or []
    return next((one for one in entries if one.get("manager") == MANAGER and one.get("operation") == "Apply" and not one.get("subresource")), {})


def holds(live: Any, wanted: Any) -> bool:
    """Return whether a live value has all that is wanted; None is wanted where nothing is, and the version that a write asks for does not count."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return all(key == "resourceVersion" or holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(holds(*pair) for pair in zip(live, wanted, strict=True))
    return bool(live == wanted)


class Resources:
    """The verbs on objects, with paths looked up lazily, one discovery request a group version."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def path(self, api_version: str, kind: str, namespace: str = "", name: str = "", *more: str, query: Mapping[str, Any] | None = None) -> str:
        """Return the URL path of a kind's collection or of one object. Raises PlatformError when the cluster does not know the kind."""
        plural, namespaced = self._resource(api_version, kind)
        root = ["apis", *api_version.split("/")] if "/" in api_version else ["api", api_version]
        scope = ["namespaces", namespace] if namespaced and namespace else []
        return url_path(*root, *scope, plural, *([name] if name else []), *more, query=query)

    def namespaced(self, api_version: str, kind: str) -> bool:
        """Return whether objects of the kind live in a namespace."""
        return self._resource(api_version, kind)[1]

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        known = _KNOWN.get((api_version, kind))
        if known:
            return known
        served = self.client.once(f"discovery {api_version}", lambda: self._discover(api_version))
        if kind not in served:
            raise PlatformError(
                f"kind {kind} of {api_version} is not known to the cluster; install its CustomResourceDefinition (deploy_platform.yml does)"
            )
        return served[kind]

    def _discover(self, api_version: str) -> dict[str, tuple[str, bool]]:
        path = "/apis/" + api_version if "/" in api_version else "/api/" + api_version
        try:
            found = self.client.request("GET", path, target=f"API group {api_version}", verb="discovery")
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {item["kind"]: (item["name"], bool(item["namespaced"])) for item in found.get("resources") or [] if "/" not in item["name"]}

    def get(self, ref: Ref) -> dict[str, Any] | None:
        """Return the live object, or None when it (or its kind) does not exist."""
        try:
            return self.client.request("GET", self.path(ref.api_version, ref.kind, ref.namespace, ref.name), target=str(ref), verb="get")
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def list(
        self, api_version: str, kind: str, namespace: str = "", *, labels: str | None = None, fields: str | None = None, terse: bool = False
    ) -> list[dict[str, Any]]:
        """Return the objects of a kind (all namespaces when ``namespace`` is ""), page by page; [] when the kind is not served.

        ``terse`` asks for their metadata alone.
        """
        found: list[dict[str, Any]] = []
        token = None
        while True:
            query = {"labelSelector": labels, "fieldSelector": fields, "limit": 1000, "continue": token}
            where = f"{kind} in namespace {namespace}" if namespace else f"{kind} in all namespaces"
            try:
                path = self.path(api_version, kind, namespace, query=query)
                page = self.client.request("GET", path, target=where, verb="list", accept=_METADATA_LIST if terse else None)
            except ApiError as error:
                if error.not_found:
                    return []
                if error.status == 410:  # the continue token is too old: begin again
                    found, token = [], None
                    continue
                raise
            for item in page.get("items") or []:
                found.append({**item, "apiVersion": api_version, "kind": kind})
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found

    def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False, force: bool = False, terse: bool = False) -> Response:
        """Server-side apply an object as our field manager; ``terse`` returns its metadata alone.

        Raises ApiError (409 with ``field_conflicts`` for others' fields).
        """
        ref = Ref.of(obj)
        # An apply refuses unknown fields in any case. "Strict" has the server parse the body a second time for keys that are there twice, and
        # what json.dumps has written holds none.
        query = {"fieldManager": MANAGER, "force": "true" if force else None, "dryRun": "All" if dry_run else None, "fieldValidation": "Ignore"}
        path = self.path(ref.api_version, ref.kind, ref.namespace, ref.name, query=query)
        deadline = time.monotonic() + (_ROLE_CACHE_SECONDS if ref.kind in _BINDINGS and not dry_run else 0)
        while True:
            try:
                return self.client.call("PATCH", path, body=obj, content_type=APPLY, target=str(ref), verb="apply", accept=_METADATA if terse else None)
            except ApiError as error:
                if not error.not_found or time.monotonic() >= deadline:
                    raise
            time.sleep(0.2)

    def create(self, obj: Mapping[str, Any], *, dry_run: bool = False, terse: bool = False) -> dict[str, Any]:
        """Create an object; ``terse`` returns its metadata alone. Raises ApiError (409 when it exists)."""
        ref = Ref.of(obj)
        path = self.path(ref.api_version, ref.kind, ref.namespace, query={"fieldManager": MANAGER, "dryRun": "All" if dry_run else None})
        if dry_run:
            return self.client.request("POST", path, body=obj, target=str(ref), verb="create", repeatable=True)
        accept = _METADATA if terse else None
        return self._once(ref, obj, lambda: self.client.request("POST", path, body=obj, target=str(ref), verb="create", accept=accept))

    def replace(self, obj: Mapping[str, Any], *, terse: bool = False) -> dict[str, Any]:
        """Replace an object; its resourceVersion makes this fail with 409 when somebody else was faster. ``terse`` as above."""
        ref = Ref.of(obj)
        path = self.path(ref.api_version, ref.kind, ref.namespace, ref.name, query={"fieldManager": MANAGER})
        accept = _METADATA if terse else None
        return self._once(ref, obj, lambda: self.client.request("PUT", path, body=obj, target=str(ref), verb="update", repeatable=False, accept=accept))

    def _once(self, ref: Ref, wanted: Mapping[str, Any], send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to a write that must not be done twice.

        When the answer got lost (a server that was ended in the middle of it), what is there now says whether it was carried out. Raises
        what ``send`` does.
        """
        unsure = False
        for attempt in range(1, _ONCE_ATTEMPTS + 1):
            try:
                return send()
            except (ApiError, Unreachable) as error:
                unsure = unsure or error.unsure
                if not unsure or attempt == _ONCE_ATTEMPTS:
                    raise
            live = self.get(ref)
            if live is not None and holds(live, wanted):
                return live
        raise AssertionError("the last attempt returns or raises")

    def delete(self, ref: Ref, *, uid: str | None = None, version: str | None = None, propagation: str = "Background") -> bool:
        """Delete an object, only if it has this ``uid`` when given. Returns False when it was not there (any more).

        Raises ApiError (409) when it has not the resourceVersion ``version`` any more.
        """
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation, "preconditions": preconditions}
        try:
            self.client.request(
                "DELETE", self.path(ref.api_version, ref.kind, ref.namespace, ref.name), body=body, target=str(ref), verb="delete"
            )
        except ApiError as error:
            if error.not_found or (error.status == 409 and "UID" in error.server_message):
                return False
            raise
        return True
