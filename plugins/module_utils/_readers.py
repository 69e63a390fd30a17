# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who already reads a Secret that the platform is about to make.

The admission policies keep a tenant's people from the Secrets that its Namespace names at that moment. A volume that is optional may name one before it
is there, and kubelet fills it once it is. ReplicaSets are not asked: their pods are, and nobody of a tenant could take an old one away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Ref, Resources

_KINDS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("v1", "Pod"))
_SHOWN = 3


def refuse_readers(resources: Resources, namespace: str, secrets: Iterable[str]) -> None:
    """Raise PlatformError that names what is not the platform's and reads one of these Secrets, none of which is there yet."""
    awaited = set(secrets)
    if not awaited:
        return
    found: dict[str, list[str]] = {}
    for objects in resources.client.map(lambda kind: resources.list(*kind, namespace), _KINDS):
        if isinstance(objects, PlatformError):
            raise objects
        for obj in objects:
            for name in sorted(awaited & _foreign_reads(obj)):
                found.setdefault(name, []).append(f"{obj['kind']} {obj['metadata']['name']}")
    for name, readers in found.items():
        more = f" and {len(readers) - _SHOWN} more" if len(readers) > _SHOWN else ""
        raise PlatformError(
            f"{Ref('v1', 'Secret', namespace, name)} is to be made by the platform for its own workloads, and {', '.join(readers[:_SHOWN])}{more} of the "
            "tenant's own would read it; have the tenant's owner take it out there (a Secret of another name is the tenant's to make), then run again"
        )


def _foreign_reads(obj: Mapping[str, Any]) -> set[str]:
    """Return the Secrets that the pods of an object read, none for the platform's own pods."""
    spec = obj.get("spec") or {}
    pod = obj if obj["kind"] == "Pod" else ((spec.get("jobTemplate") or {}).get("spec") or spec).get("template") or {}
    labels = (pod.get("metadata") or {}).get("labels") or {}
    return set() if labels.get("app.kubernetes.io/managed-by") == PREFIX else read_by(pod.get("spec"))


def read_by(part: Any) -> set[str]:
    """Return the Secrets that a pod's spec reads: volumes, parts of projected ones, variables, and what drivers of volumes are given.

    What only pulls images (``imagePullSecrets``) is read by the node: pods get the platform's from their service account, the tenant's own too.
    """
    if isinstance(part, list):
        return set().union(*map(read_by, part))
    if not isinstance(part, Mapping):
        return set()
    found: set[str] = set()
    for key, value in part.items():
        if key == "secretName":
            found.add(str(value))
        elif isinstance(value, Mapping) and value.get("name") and (key in ("secret", "secretKeyRef") or key.lower().endswith("secretref")):
            found.add(str(value["name"]))
        else:
            found |= read_by(value)
    return found
