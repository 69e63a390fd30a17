"""What became of the deploys: counted, judged and written down. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.chaos.plan import CUTS, FAULTS, Deploy
from benchmarks.chaos.writer import Failure

SHARE = 0.95


@dataclass(frozen=True)
class Attempt:
    """One run of the playbook.

    ``struck`` is the second at which the fault struck, None when it lasted or came too late; ``stage`` the one in which it did, else the last that the
    run was in; ``said`` why it failed; ``skew`` by how much its clock was wrong (seconds, measured).
    """

    code: int
    seconds: float
    result: str
    struck: float | None = None
    stage: str = ""
    said: str = ""
    skew: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One deploy: its attempts, what was half-done afterwards, and from when to when (epoch)."""

    deploy: Deploy
    attempts: tuple[Attempt, ...]
    problems: tuple[str, ...]
    begun: float
    ended: float

    @property
    def succeeded(self) -> bool:
        """Whether it was there in the end; a missing image must have been refused before."""
        refused = self.deploy.fault != "image_missing" or self.attempts[0].code != 0
        return refused and self.attempts[-1].code == 0

    def document(self) -> dict[str, Any]:
        """Return it as it is written down."""
        return {
            **asdict(self.deploy), "detail": self.deploy.detail, "succeeded": self.succeeded, "problems": list(self.problems),
            "seconds": round(self.ended - self.begun, 1), "attempts": [asdict(attempt) for attempt in self.attempts],
        }  # fmt: skip


def blamed(moment: float, tenant: str, outcomes: Iterable[Outcome]) -> str:
    """Return the fault that a failed request of a tenant's customer is put down to.

    First a fault at work that takes away what serves, the tenant's own deploy before a neighbour's (both share gateway, database and network);
    then the fault of its own deploy; else none.
    """
    at_work = [item.deploy for item in outcomes if item.begun <= moment <= item.ended]
    at_work.sort(key=lambda deploy: (deploy.fault not in CUTS, deploy.tenant != tenant))
    return next((deploy.fault for deploy in at_work if deploy.fault in CUTS or deploy.tenant == tenant), "none")


def row(fault: str, outcomes: Sequence[Outcome], failed_requests: int) -> dict[str, Any]:
    """Return the line of one fault."""
    own = [item for item in outcomes if item.deploy.fault == fault]
    first = [item.attempts[0].seconds for item in own]
    # A missing image is meant to be refused: the attempt after it is the first that can succeed.
    at_once = 2 if fault == "image_missing" else 1
    return {
        "fault": fault,
        "deploys": len(own),
        "at_once": sum(item.succeeded and len(item.attempts) == at_once for item in own),
        "after_another_attempt": sum(item.succeeded and len(item.attempts) > at_once for item in own),
        "failed": sum(not item.succeeded for item in own),
        "half_done": sum(bool(item.problems) for item in own),
        "median_seconds": round(statistics.median(first), 1) if first else None,
        "longest_seconds": round(max(item.ended - item.begun for item in own), 1) if own else None,
        "failed_requests": failed_requests,
    }


def summary(outcomes: Sequence[Outcome], failures: dict[str, list[Failure]], bookings: dict[str, int]) -> dict[str, Any]:
    """Return the whole result: lines by fault, totals, every deploy. ``failures`` are those of each tenant's customer."""
    blames = [blamed(failure.moment, tenant, outcomes) for tenant, found in failures.items() for failure in found]
    count = len(outcomes)
    return {
        "deploys": count,
        "succeeded": sum(item.succeeded for item in outcomes),
        "success_rate": round(sum(item.succeeded for item in outcomes) / count, 4) if count else 0.0,
        "half_done": sum(bool(item.problems) for item in outcomes),
        "bookings": {**bookings, "failed_requests": len(blames)},
        "by_fault": [row(fault, outcomes, blames.count(fault)) for fault in FAULTS],
        "runs": [item.document() for item in outcomes],
    }


def is_good(result: dict[str, Any]) -> bool:
    """Whether more than 95 % succeeded, none was half-done and no booking was lost."""
    return bool(result["success_rate"] > SHARE and result["half_done"] == 0 and result["bookings"]["lost"] == 0 and result["bookings"]["confirmed"] > 0)
