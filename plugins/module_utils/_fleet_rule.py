# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a release may go on to the next tenants of a fleet: the rule, as pure functions of what happened so far.

The question after each wave is "do more tenants go wrong than with a release that is good?". It is asked again and again, so an
ordinary test would sooner or later stop a good release by chance. An e-process may be looked at after every tenant: the
probability that it ever reaches 1/alpha while the release is good is at most alpha (Ville's inequality).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import plural
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

BAD = ("failed", "rolled_back")


@dataclass(frozen=True)
class Rule:
    """What a release must keep to: shares between 0 and 1, the budget in tenants (``5``) or as a share of the fleet (``10%``)."""

    null_rate: float
    alpha: float
    failure_budget: str
    error_ratio: float
    minimum_requests: int

    def __post_init__(self) -> None:
        """Raise PlatformError naming the option that cannot be."""
        for name in ("null_rate", "alpha", "error_ratio"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise PlatformError(f"{name} is {value}; it must be a share between 0 and 1, for example 0.05")
        self.budget(1)

    def budget(self, total: int) -> int:
        """Return how many tenants of ``total`` may go wrong; a share allows at least three, so that a small fleet is not stopped by one."""
        text = self.failure_budget.strip()
        number = text.removesuffix("%")
        if not number.isascii() or not number.isdigit() or (text.endswith("%") and int(number) > 100):
            raise PlatformError(f"failure_budget is {text!r}; it must be a number of tenants (5) or a share of the fleet (10%)")
        return max(3, total * int(number) // 100) if text.endswith("%") else int(number)


@dataclass(frozen=True)
class Tenant:
    """How a tenant of the fleet fared: its run's result, and what customers met since (requests and server errors)."""

    name: str
    result: str
    revision: str = ""
    error: str = ""
    requests: float = 0.0
    errors: float = 0.0

    def wrong(self, rule: Rule) -> str:
        """Return why this tenant counts against the release, "" when it does not."""
        if self.result in BAD:
            return self.error or self.result.replace("_", " ")
        if self.requests >= rule.minimum_requests and self.errors > rule.error_ratio * self.requests:
            return f"{self.errors:.0f} of {self.requests:.0f} requests to {self.revision} ended in a server error"
        return ""


def e_value(wrong: int, tried: int, null_rate: float) -> float:
    """Return the evidence against "at most ``null_rate`` of the tenants go wrong" after ``wrong`` of ``tried`` did.

    The likelihood ratio of a uniform mixture over all higher rates, in closed form by the incomplete beta function: a test
    martingale at every rate up to ``null_rate``. H. Robbins, Statistical methods related to the law of the iterated
    logarithm (1970); A. Ramdas et al., Game-theoretic statistics and safe anytime-valid inference (2023).
    """
    special = importlib.import_module("scipy.special")
    right = tried - wrong
    above = float(special.betaincc(wrong + 1, right + 1, null_rate))
    if above == 0.0:
        return 0.0
    mixture = float(special.betaln(wrong + 1, right + 1)) + math.log(above) - math.log1p(-null_rate)
    return math.exp(min(700.0, mixture - wrong * math.log(null_rate) - right * math.log1p(-null_rate)))


def judge(rule: Rule, tenants: Sequence[Tenant], total: int) -> dict[str, Any]:
    """Return whether the fleet of ``total`` tenants stops now: ``stop``, ``reason``, and the figures behind them."""
    wrong = {tenant.name: why for tenant in tenants if (why := tenant.wrong(rule))}
    evidence, limit = e_value(len(wrong), len(tenants), rule.null_rate), 1 / rule.alpha
    reason = ""
    if evidence >= limit:
        reason = (
            f"{len(wrong)} of {len(tenants)} tenants went wrong, more than a good release (at most {rule.null_rate:.0%}) explains: "
            f"evidence {evidence:.0f}, limit {limit:.0f}"
        )
    elif len(wrong) > rule.budget(total):
        reason = f"{plural(len(wrong), 'tenant')} went wrong and the failure budget of {total} is {rule.budget(total)}"
    return {
        "stop": bool(reason),
        "reason": reason,
        "e_value": round(evidence, 3),
        "limit": round(limit, 3),
        "tried": len(tenants),
        "wrong": wrong,
        "total": total,
        "failure_budget": rule.budget(total),
    }


def summary(fleet: str, verdict: Mapping[str, Any], *, ended: bool = False, untouched: int = 0) -> str:
    """Return the state of a fleet in one sentence, with the next step where it needs one."""
    tried, total, wrong = verdict["tried"], verdict["total"], verdict["wrong"]
    state = f"fleet {fleet}: {tried} of {total} tenants done, {len(wrong)} went wrong"
    if verdict["stop"] and untouched:
        name, why = next(iter(wrong.items()))
        return (
            f"fleet {fleet} stopped after {tried} of {total} tenants: {verdict['reason']}; {untouched} not touched; "
            f"correct the release and deploy again. First seen in {name}: {why}"
        )
    if ended and wrong:
        names = ", ".join(sorted(wrong)[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        return f"{state} ({names}); see their reports, correct what is wrong and deploy them again with --limit"
    return state if ended else f"{state} (evidence against the release {verdict['e_value']:g}, limit {verdict['limit']:g})"
