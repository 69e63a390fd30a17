"""A pod as Pod Security `restricted` admits it: what somebody of a tenant would write."""

from __future__ import annotations

from typing import Any


def pod_spec(image: str, resources: dict[str, Any], **container: Any) -> dict[str, Any]:
    """Return the spec of a pod with one container, "main"; further fields of it (its command, another name) are given by name."""
    security = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "main", "image": image, "resources": resources, "securityContext": security, **container}],
    }
