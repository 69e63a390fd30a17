"""Do racing creates get past a quota? `make quota-race` (simulated profile; 10,000 creates).

Two races, each in a namespace of its own, after waiting as the infrastructure stage does: creates alone (must overshoot by 0), and creates with
deletes in between (the most that was there beyond the limit). Writes benchmarks/results/quota_race.json; 1 when the first overshoots.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._quotas import COUNTED, await_live
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Ref, Resources

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).resolve().parent / "results" / "quota_race.json"
KUBECONFIG = ROOT / ".embedded" / "simulated" / "kubeconfig"
# Made by the cluster in every namespace, and counted by the quota.
OWN = 1


class Race:
    """A namespace with a quota on ConfigMaps, and many clients' worth of creates at it."""

    def __init__(self, kubeconfig: str, hard: int, concurrency: int = 48) -> None:
        self.client = Client.from_options({"kubeconfig": kubeconfig}, concurrency=concurrency)
        self.resources = Resources(self.client)
        self.namespace = f"quota-race-{uuid.uuid4().hex[:8]}"
        self.hard = hard
        self.quota = Ref("v1", "ResourceQuota", self.namespace, "tier")

    def __enter__(self) -> Race:
        """Make the namespace and the quota; nothing is waited for."""
        self.resources.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        spec = {"hard": {"configmaps": str(self.hard + OWN)}}
        self.resources.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tier", "namespace": self.namespace}, "spec": spec})
        return self

    def __exit__(self, *_exception: object) -> None:
        """Remove the namespace without waiting."""
        self.resources.delete(Ref("v1", "Namespace", "", self.namespace))

    def wait(self) -> None:
        """Wait as the infrastructure stage does before it gives anybody a right in the namespace."""
        end = time.monotonic() + 30
        while len(self.resources.list("v1", "ConfigMap", self.namespace)) < OWN and time.monotonic() < end:
            time.sleep(0.05)
        await_live(self.resources, [self.quota], time.monotonic() + 60, COUNTED)

    def create(self, number: int) -> bool:
        """Create one object; returns whether it was admitted. Raises ApiError for any other refusal than the quota's."""
        name = f"racer-{number}"
        try:
            self.resources.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": self.namespace}})
        except ApiError as error:
            # Losers of many conflicts over the quota's status are refused too, and told to try again.
            if "exceeded quota" in error.server_message or error.status in (409, 500, 503):
                return False
            raise
        return True

    def there(self) -> int:
        """Return how many racers exist."""
        return len(self.resources.list("v1", "ConfigMap", self.namespace)) - OWN

    def creates(self, number: int) -> dict[str, Any]:
        """Race that many creates; what became of them."""
        begun = time.monotonic()
        results = self.client.map(self.create, range(number))
        failed = [str(result) for result in results if isinstance(result, PlatformError)]
        if failed:
            raise RuntimeError(f"{len(failed)} creates failed for another reason than the quota: {failed[0]}")
        there = self.there()
        return {
            "creates": number, "hard": self.hard, "admitted": sum(result is True for result in results), "there": there,
            "overshoot": max(0, there - self.hard), "seconds": round(time.monotonic() - begun, 1),
        }  # fmt: skip

    def creates_and_deletes(self, number: int) -> dict[str, Any]:
        """Race creates with deletes, and look at the number of objects all the time; the most that were there beyond the limit."""
        begun, most = time.monotonic(), 0

        def one(item: int) -> int:
            if item % 10 == 0:
                return self.there()
            if self.create(item) and item % 2:
                self.resources.delete(Ref("v1", "ConfigMap", self.namespace, f"racer-{item}"))
            return 0

        for result in self.client.map(one, range(number)):
            if isinstance(result, PlatformError):
                raise result
            most = max(most, result)
        most = max(most, self.there())
        return {"operations": number, "hard": self.hard, "most": most, "overshoot": max(0, most - self.hard), "seconds": round(time.monotonic() - begun, 1)}


def main() -> int:
    """Run both races; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=10_000)
    parser.add_argument("--kubeconfig", default=str(KUBECONFIG))
    options = parser.parse_args()
    found: dict[str, Any] = {"command": "make quota-race"}
    hard = max(1, options.creates // 10)
    with Race(options.kubeconfig, hard) as race:
        race.wait()
        found["creates"] = race.creates(options.creates)
    with Race(options.kubeconfig, hard) as race:
        race.wait()
        found["with_deletes"] = race.creates_and_deletes(options.creates)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 1 if found["creates"]["overshoot"] else 0


if __name__ == "__main__":
    sys.exit(main())
