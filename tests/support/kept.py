"""Kept revisions of the tenant palermo on an API server's stand-in."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from tests.support.api_stand_in import StandIn

SECRETS = "/api/v1/namespaces/barberpro-system/secrets"


def revision(*encrypting: str, plain: str = "web") -> bytes:
    """Return what is stored of a revision whose workloads are these, all but one of which encrypt."""

    def deployment(account: str, labels: dict[str, str]) -> dict[str, Any]:
        return {"kind": "Deployment", "spec": {"template": {"metadata": {"labels": labels}, "spec": {"serviceAccountName": account}}}}

    objects = [deployment(plain, {}), *(deployment(account, {"barberpro.platform/vault": "true"}) for account in encrypting), {"kind": "ConfigMap"}]
    return gzip.compress(json.dumps(objects).encode())


def keep(api: StandIn, **revisions: bytes) -> None:
    """Let these revisions of the tenant be kept, and no other."""
    notes = {"barberpro.platform/chunks": "1"}
    metadata = [{"name": name, "labels": {"barberpro.platform/revision": name}, "annotations": notes} for name in revisions]
    api.items(SECRETS, *({"metadata": one} for one in metadata))
    for name, stored in revisions.items():
        api.answers[f"GET {SECRETS}/release-palermo-{name}-0"] = {"data": {"set": base64.b64encode(stored).decode()}}
