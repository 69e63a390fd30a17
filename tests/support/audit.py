"""Reads the API server's audit log: who wrote what."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.support.cluster import ROOT, host_of

LOG = ROOT / ".embedded" / "logs" / "audit.log"
DEPLOYER = "barberpro-deployer"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def _other_tests() -> tuple[str, ...]:
    """What the objects of the tenants that Molecule deploys at the same time have in their names."""
    scenarios = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    claims = (hashlib.sha256(host_of(f"molecule-{scenario}").encode()).hexdigest()[:40] for scenario in scenarios)
    return ("molecule-", *claims)


class AuditLog:
    """The part of the audit log that is written from now on."""

    def __init__(self, log: Path = LOG) -> None:
        """Remember how long the log is."""
        self.log = log
        self.start = log.stat().st_size

    def events(self) -> list[dict[str, Any]]:
        """Return the events that were completed since, without those of the tenants that Molecule deploys at the same time."""
        with self.log.open("rb") as source:
            source.seek(self.start)
            lines = source.read().splitlines()
        events = [json.loads(line) for line in lines]
        others = _other_tests()
        return [
            event for event in events
            if event["stage"] == "ResponseComplete"
            and not any(name in f"{event['requestURI']} {event.get('objectRef', {}).get('name', '')}" for name in others)
        ]

    def writes_of_the_deployer(self) -> list[str]:
        """Return every write by the deployer as "VERB URI", but for dry runs and reviews, which change nothing."""
        return [
            f"{event['verb']} {event['requestURI']}" for event in self.events()
            if event["user"]["username"] == DEPLOYER
            and event["verb"] in WRITES
            and "dryRun=All" not in event["requestURI"]
            and not event["requestURI"].split("?")[0].endswith(("accessreviews", "rulesreviews", "selfsubjectreviews"))
            and event["objectRef"].get("subresource") not in {"portforward", "proxy"}
        ]
