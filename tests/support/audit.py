"""Reads the API server's audit log: who wrote what."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tests.support.cluster import BESIDE, ROOT, host_of

LOG = ROOT / ".embedded" / "logs" / "audit.log"
DEPLOYER = "barberpro-deployer"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def _names(*tenants: str) -> tuple[str, ...]:
    """What the objects of tenants have in their names."""
    claims = (hashlib.sha256(host_of(tenant).encode()).hexdigest()[:40] for tenant in tenants)
    return (*tenants, *claims)


class AuditLog:
    """The part of the audit log that is written from now on: about one tenant, or about all but those that other tests deploy at the same time.

    The log of a test's own cluster has none of those, and is read without the one that is shared.
    """

    def __init__(self, about: str = "", log: Path = LOG) -> None:
        """Remember how long the log is."""
        self.about, self.log = about, log
        self.others = BESIDE if log == LOG else ()
        self.start, self.inode = log.stat().st_size, log.stat().st_ino

    def events(self) -> list[dict[str, Any]]:
        """Return the events that were completed since."""
        with self.log.open("rb") as source:
            assert os.fstat(source.fileno()).st_ino == self.inode, f"{self.log} was rotated meanwhile: what was written before is in the one beside it"
            source.seek(self.start)
            lines = source.read().splitlines()
        events = [json.loads(line) for line in lines]
        names = _names(self.about) if self.about else _names(*self.others)
        return [
            event for event in events
            if event["stage"] == "ResponseComplete"
            and any(name in f"{event['requestURI']} {event.get('objectRef', {}).get('name', '')}" for name in names) == bool(self.about)
        ]

    def writes_of_the_deployer(self) -> list[str]:
        """Return every write by the deployer."""
        return self.writes_of(DEPLOYER)

    def writes_of(self, user: str) -> list[str]:
        """Return every write by a user as "VERB URI", but for dry runs and reviews, which change nothing."""
        return [
            f"{event['verb']} {event['requestURI']}" for event in self.events()
            if event["user"]["username"] == user
            and event["verb"] in WRITES
            and "dryRun=All" not in event["requestURI"]
            and not event["requestURI"].split("?")[0].endswith(("accessreviews", "rulesreviews", "selfsubjectreviews"))
            and event["objectRef"].get("subresource") not in {"portforward", "proxy"}
        ]
