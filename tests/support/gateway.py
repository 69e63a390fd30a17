"""A stand-in for a gateway's controller: kwok has none, and a release waits for its word."""

from __future__ import annotations

import threading
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import MERGE, Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources


class Gateway(threading.Thread):
    """Accepts every route of test tenants, as a gateway controller does; kwok has none."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True, name="watch of the gateway")
        self.client = client
        self.stopped = threading.Event()
        # Namespaces, and routes as NAMESPACE/NAME.
        self.refuse: set[str] = set()

    def run(self) -> None:
        resources = Resources(self.client)
        while not self.stopped.wait(0.15):
            try:
                for route in resources.list("gateway.networking.k8s.io/v1", "HTTPRoute", labels="barberpro.platform/tenant"):
                    self.answer(resources, route)
            except PlatformError:  # the namespace went while we looked
                continue

    def answer(self, resources: Resources, route: dict[str, Any]) -> None:
        metadata = route["metadata"]
        said = [c["observedGeneration"] for p in route.get("status", {}).get("parents", []) for c in p["conditions"]]
        if {metadata["namespace"], f"{metadata['namespace']}/{metadata['name']}"} & self.refuse or (said and min(said) == metadata["generation"]):
            return
        now = "2026-01-01T00:00:00Z"
        conditions = [
            {"type": kind, "status": "True", "reason": "Fine", "message": "", "observedGeneration": metadata["generation"], "lastTransitionTime": now}
            for kind in ("Accepted", "ResolvedRefs")
        ]
        parents = [{"parentRef": ref, "controllerName": "test/gateway", "conditions": conditions} for ref in route["spec"]["parentRefs"]]
        path = resources.path(route["apiVersion"], "HTTPRoute", metadata["namespace"], metadata["name"], "status")
        self.client.request("PATCH", path, body={"status": {"parents": parents}}, content_type=MERGE)
