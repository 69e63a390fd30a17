# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a host name is: the tenant's whose ConfigMap bears it.

Looking first and writing then would let two tenants take one name. The name of the ConfigMap is a hash of the host, and the API server
creates an object of one name once: of two racing claims one wins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._apply import Change
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._renaming import host_in
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources

CLAIM_LABEL = f"{PREFIX}/claim"
_ATTEMPTS = 5  # a claim may go between our being refused and our looking who has it


def host_of(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return the host name that the Namespace among these objects asks for, in lower case; "" when there is none."""
    for obj in objects:
        if obj.get("kind") == "Namespace":
            return host_in(obj).lower().rstrip(".")
    return ""


def claim_of(host: str) -> Ref:
    """Return the ConfigMap that bears a host name (in lower case)."""
    return Ref("v1", "ConfigMap", SYSTEM_NAMESPACE, f"host-{hashlib.sha256(host.encode()).hexdigest()[:40]}")


def holder(resources: Resources, host: str) -> str | None:
    """Return the tenant that has claimed a host name, None when it is free."""
    found = resources.get(claim_of(host))
    return None if found is None else _tenant(found)


def take(resources: Resources, tenant: str, host: str, *, dry_run: bool = False, before_write: Callable[[], None] = lambda: None) -> Change:
    """Claim a host name for a tenant; nothing is written when it has it. Raises PlatformError that names the tenant which has it.

    ``before_write`` is called before each write, so that a run can record what it means to do.
    """
    ref = claim_of(host)
    labels = {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: tenant, CLAIM_LABEL: "host"}
    claim = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels},
        "data": {"host": host, "tenant": tenant},
        "immutable": True,
    }
    for _attempt in range(_ATTEMPTS):
        present = resources.get(ref)
        if present is not None and _tenant(present) == tenant:
            return Change(ref, "unchanged", "infrastructure", before=present, after=present)
        if present is not None:
            raise PlatformError(taken(host, _tenant(present)))
        try:
            if not dry_run:
                before_write()
            made = claim if dry_run else resources.create(claim)
        except ApiError as error:
            if error.not_found:
                raise PlatformError(f"namespace {SYSTEM_NAMESPACE} does not exist: the platform is not installed; run deploy_platform.yml") from error
            if error.status != 409:
                raise
            continue
        return Change(ref, "created", "infrastructure", after=made)
    raise PlatformError(f"host {host}: {ref} came and went {_ATTEMPTS} times while tenant {tenant} claimed it; run again")


def held(resources: Resources, tenant: str) -> list[str]:
    """Return the host names that a tenant has claimed."""
    found = resources.list("v1", "ConfigMap", SYSTEM_NAMESPACE, labels=f"{CLAIM_LABEL}=host,{TENANT_LABEL}={tenant}")
    return [_host(claim) for claim in found]


def taken(host: str, owner: str) -> str:
    """Return the sentence about a host name that somebody else has."""
    ref = claim_of(host)
    return (
        f"host {host} is taken: {ref} says that tenant {owner} has claimed it; choose another host name (tenant_host), or remove tenant "
        f"{owner}, which releases it"
    )


def routes(resources: Resources, host: str, namespace: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the HTTPRoutes that name a host or a name below it, a wildcard too, each with that name; of all namespaces when ``namespace`` is ""."""
    for route in resources.list("gateway.networking.k8s.io/v1", "HTTPRoute", namespace):
        names = [str(name).lower() for name in (route.get("spec") or {}).get("hostnames") or []]
        found = next((name for name in names if f".{name}".endswith(f".{host}")), None)
        if found is not None:
            yield route, found


def release(
    resources: Resources,
    tenant: str,
    *,
    keep: str = "",
    in_use: Callable[[str], bool] = lambda _host: False,
    dry_run: bool = False,
    before_write: Callable[[], None] = lambda: None,
) -> list[Change]:
    """Give back every host name of a tenant but ``keep`` and those ``in_use``; others may claim them from then on. Returns the deletions."""
    kept = claim_of(keep) if keep else None
    changes = []
    for found in resources.list("v1", "ConfigMap", SYSTEM_NAMESPACE, labels=f"{CLAIM_LABEL}=host,{TENANT_LABEL}={tenant}"):
        ref = Ref.of(found)
        if ref == kept or in_use(_host(found)):
            continue
        if not dry_run:
            before_write()
            resources.delete(ref, uid=found["metadata"]["uid"])
        changes.append(Change(ref, "deleted", "infrastructure", before=found))
    return changes


def _tenant(claim: Mapping[str, Any]) -> str:
    return str((claim.get("data") or {}).get("tenant") or "")


def _host(claim: Mapping[str, Any]) -> str:
    return str((claim.get("data") or {}).get("host") or "")
