"""Is a tenant half-done? Pure functions of what kubectl, SQL and a customer see of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_REVISION = re.compile(r"-r(\d+)(?=-|$)")
WORKLOADS = ("booking", "walkin-queue")


@dataclass(frozen=True)
class Look:
    """What was seen of a tenant at one moment; documents as kubectl gives them, the journal and the record decoded."""

    journal: Mapping[str, Any] | None
    record: Mapping[str, Any] | None
    lease: Mapping[str, Any] | None
    objects: frozenset[str]
    routes: tuple[Mapping[str, Any], ...]
    pods: tuple[Mapping[str, Any], ...]
    strays: tuple[str, ...] = ()
    served_by: str = ""
    tagline: str = ""
    now: float = 0.0


def shape(names: Iterable[str]) -> frozenset[str]:
    """Return names of objects without the number of the revision: two revisions of one tenant have the same shape."""
    return frozenset(_REVISION.sub("-rN", name) for name in names)


def revisions(names: Iterable[str]) -> set[str]:
    """Return the revisions that names of objects bear, as "r3"."""
    return {f"r{number}" for name in names for number in _REVISION.findall(name)}


def backends(routes: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of the Services that routes lead customers to, those of the preview (with a header) left out."""
    found = set()
    for route in routes:
        for rule in route["spec"].get("rules") or []:
            if any(match.get("headers") for match in rule.get("matches") or []):
                continue
            found |= {ref["name"] for ref in rule.get("backendRefs") or [] if ref.get("weight", 1) > 0}
    return found


def problems(look: Look, wanted: frozenset[str], tagline: str | None = None) -> list[str]:
    """Return what is half-done of a tenant, in sentences; ``wanted`` is its shape, ``tagline`` the setting of the deploy that came last."""
    found = []
    if look.journal is None or not look.journal.get("closed"):
        found.append(f"its journal is {'missing' if look.journal is None else 'open'}")
    if look.lease is not None and _is_held(look.lease, look.now):
        found.append("its lease is held")
    numbers = (look.record or {}).get("current"), (look.record or {}).get("finished")
    if look.record is None or look.record.get("pending") is not None or numbers[0] != numbers[1]:
        found.append(f"its record says pending {(look.record or {}).get('pending')}, current {numbers[0]}, finished {numbers[1]}")
    there = revisions(look.objects)
    if len(there) != 1:
        found.append(f"objects of revisions {', '.join(sorted(there)) or 'none'} are there")
    served = revisions(backends(look.routes)) | ({look.served_by} if look.served_by else {"nobody"})
    if served != there:
        found.append(f"customers are served by {', '.join(sorted(served))}")
    seen = shape(look.objects)
    found += [f"{name} is left over" for name in sorted(seen - wanted)] + [f"{name} is missing" for name in sorted(wanted - seen)]
    found += [f"{name} is left over" for name in look.strays]
    found += _pod_problems(look.pods)
    if tagline is not None and look.tagline != tagline:
        found.append(f"its settings are those of another deploy ({look.tagline!r})")
    return found


def _is_held(lease: Mapping[str, Any], now: float) -> bool:
    """Whether a lease keeps others off: a run that was killed between its last word and the release leaves one that ends by itself."""
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity"):
        return False
    renewed = datetime.fromisoformat(str(spec["renewTime"]).replace("Z", "+00:00")).timestamp()
    return now < renewed + float(spec["leaseDurationSeconds"])


def _pod_problems(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    found, ready = [], []
    for pod in pods:
        metadata, status = pod["metadata"], pod.get("status") or {}
        name = metadata["name"]
        owner = next((item["kind"] for item in metadata.get("ownerReferences") or []), "nobody")
        if metadata.get("deletionTimestamp"):
            found.append(f"Pod {name} is still ending")
        elif owner == "nobody":
            found.append(f"Pod {name} is left over")
        elif owner == "ReplicaSet":
            conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
            component = (metadata.get("labels") or {}).get("app.kubernetes.io/component")
            if conditions.get("Ready") == "True":
                ready.append(component)
            else:
                found.append(f"Pod {name} is not ready")
    found += [f"no pod of {name} is ready" for name in WORKLOADS if name not in ready]
    return found
