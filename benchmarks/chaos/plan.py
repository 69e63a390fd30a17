"""Which deploy meets which fault, from a seed; no I/O. The same seed and number give the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# How each fault is made, as the document says it.
FAULTS = {
    "none": "nothing; what the others are compared with",
    "pods_killed": "a running pod of the tenant, of the gateway or of the monitoring is deleted without grace, at a random moment",
    "image_missing": "the image is unknown to the registry, or (every other time) a layer of it has gone from the registry after its manifest was pushed",
    "api_server_restarted": "kube-apiserver is ended by SIGKILL at a random moment; its supervisor starts it again",
    "database_restarted": "PostgreSQL's pod is ended with one second of grace at a random moment; its StatefulSet starts it again",
    "packet_loss": "5, 10 or 20 % of the packets between the runner (and the customers) and the node are dropped in each direction, throughout",
    "disk_full": "the report path is a file system without a free byte",
    "clock_skew": "the clock of ansible-playbook and of all that it starts is wrong by 5 minutes to a day, ahead or behind (`benchmarks/chaos/wrong_clock.c`)",
    "runner_killed": "ansible-playbook and all that it started is ended by SIGKILL at a random moment",
}
# Faults that take away what serves the customers, for a moment: their requests may fail then.
CUTS = ("pods_killed", "database_restarted", "packet_loss")
_LOSSES = (5, 10, 20)
_SKEWS = (300, 3600, 6 * 3600, 24 * 3600)


@dataclass(frozen=True)
class Deploy:
    """One deploy: its tenant, its fault, when the fault strikes (share of the time that a deploy takes) and a draw for its details."""

    number: int
    tenant: str
    fault: str
    moment: float
    draw: float

    @property
    def loss(self) -> int:
        """Percent of packets that are lost, in each direction."""
        return _LOSSES[int(self.draw * len(_LOSSES))]

    @property
    def skew(self) -> int:
        """Seconds that the runner's clock is ahead; behind when negative."""
        choices = [sign * seconds for seconds in _SKEWS for sign in (1, -1)]
        return choices[int(self.draw * len(choices))]

    @property
    def layer_gone(self) -> bool:
        """Whether the missing image has a manifest."""
        return self.draw < 0.5

    @property
    def wants_something_else(self) -> bool:
        """Whether the operator, after the runner was killed, deploys something else: then what was begun has to be undone first."""
        return self.fault == "runner_killed" and self.draw < 0.5

    def chosen(self, items: Sequence[Any]) -> Any:
        """Return the item that the draw hits."""
        return items[int(self.draw * len(items))]

    @property
    def detail(self) -> str:
        """The fault in a few words."""
        words = {
            "packet_loss": f"{self.loss} % in each direction",
            "clock_skew": f"{self.skew:+d} s",
            "image_missing": "a layer has gone" if self.layer_gone else "unknown to the registry",
            "runner_killed": "then something else is deployed" if self.wants_something_else else "then the same is deployed",
        }
        return words.get(self.fault, "")


def plan(seed: int, deploys: int, tenants: Sequence[str]) -> list[Deploy]:
    """Return the deploys in order. Tenants come in turn; each fault gets an equal share, in random order."""
    dice = random.Random(seed)
    names = list(FAULTS)
    faults = [names[number % len(names)] for number in range(deploys)]
    dice.shuffle(faults)
    return [
        Deploy(number, tenants[number % len(tenants)], fault, round(dice.uniform(0.03, 0.97), 3), round(dice.random(), 3))
        for number, fault in enumerate(faults)
    ]


def variables(seed: int, number: int, tenant: str, other: bool = False) -> dict[str, Any]:
    """Return the extra variables of a deploy: a tenant that only they describe, with a setting and a quota that its last deploy had not.

    ``other`` asks for another quota still.
    """
    day = [{"from": "00:00", "to": "24:00"}]
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return {
        "tenant_name": tenant,
        "vertical": "barbershop",
        "tier": "small",
        "market_size": "small",
        "quota_overrides": {"pods": "31" if other else str(22 + number % 8)},
        "business": {
            "name": tenant.replace("-", " ").title(),
            "branding": {"tagline": f"Semilla {seed}, entrega {number}"},
            "opening_hours": dict.fromkeys(days, day),
            "staff": [{"id": name, "name": name.title(), "services": ["corte"]} for name in ("ana", "beto")],
            "services": [{"id": "corte", "name": "Corte", "duration_minutes": 15, "price": 9500}],
        },
    }
