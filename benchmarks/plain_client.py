"""Applies objects to a cluster and does nothing else: `python -m benchmarks.plain_client KUBECONFIG FILE`.

What is left of a fleet's time when nothing is planned, recorded, guarded or waited for: no deployer in Python on this machine can be faster.
FILE holds one JSON list of objects a line, a tenant each, its Namespace first. 16 tenants are at work side by side, as in the module ``fleet``.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources

CONCURRENCY = 16


def apply(resources: Resources, objects: list[dict[str, Any]]) -> None:
    """Apply a tenant's objects one after the other."""
    for obj in objects:
        resources.apply(obj, force=True, terse=True)


def main(kubeconfig: str, path: str) -> None:
    """Apply them all. Raises ApiError for the first that is refused."""
    resources = Resources(Client.from_options({"kubeconfig": kubeconfig}, concurrency=CONCURRENCY))
    with Path(path).open() as stream, ThreadPoolExecutor(CONCURRENCY) as pool:
        for done in [pool.submit(apply, resources, json.loads(line)) for line in stream]:
            done.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
