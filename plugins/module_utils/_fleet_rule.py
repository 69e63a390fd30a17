# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a release may go on to the next tenants of a fleet: the rule, as pure functions of what happened so far.

The question after each wave is "do more tenants go wrong than with a release that is good?". It is asked again and again, so an
ordinary test would sooner or later stop a good release by chance. An e-process may be looked at after every tenant: the
probability that it ever reaches 1/alpha while the release is good is at most alpha (Ville's inequality).
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import plural
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError

BAD = ("failed", "rolled_back")
# The bet on the first tenants: how many these are at most, what part of alpha it may cost, and the share of tenants that go wrong with the
# mildest release that it is made for. A milder one is found later by the rest of the stake.
EARLY_TENANTS, EARLY_PART, MILDEST = 10, 0.9, 0.3


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
    """How a tenant of the fleet fared: its newest result, and what customers met since (requests and server errors).

    ``earlier`` says why it went wrong in an earlier run of the same release, "" when it did not.
    """

    name: str
    result: str
    revision: str = ""
    error: str = ""
    requests: float = 0.0
    errors: float = 0.0
    earlier: str = ""

    @property
    def counts(self) -> bool:
        """Return whether it says anything about the release: one that is unchanged serves what it served before, and has tried nothing new."""
        return self.result != "unchanged" or bool(self.earlier)

    def heard(self, rule: Rule) -> bool:
        """Return whether its customers sent enough requests to judge the new revision by."""
        return self.requests >= rule.minimum_requests

    def wrong(self, rule: Rule) -> str:
        """Return why this tenant counts against the release, "" when it does not.

        A tenant is one outcome: bad by its gates or by its customers' errors. Where customers are too few to tell, its gates have the word.
        """
        if self.result in BAD:
            return self.error or self.result.replace("_", " ")
        if self.heard(rule) and self.errors > rule.error_ratio * self.requests:
            return f"{self.errors:.0f} of {self.requests:.0f} requests to {self.revision} ended in a server error"
        return ""


def mixture(wrong: int, tried: int, null_rate: float) -> float:
    """Return how much likelier ``wrong`` of ``tried`` is at the rates above ``null_rate``, averaged, than at ``null_rate`` itself.

    The likelihood ratio of a uniform mixture, in closed form by the incomplete beta function: a test martingale at every rate up to
    ``null_rate``. H. Robbins, Statistical methods related to the law of the iterated logarithm (1970); A. Ramdas et al.,
    Game-theoretic statistics and safe anytime-valid inference (2023).
    """
    special = importlib.import_module("scipy.special")
    right = tried - wrong
    above = float(special.betaincc(wrong + 1, right + 1, null_rate))
    if above == 0.0:
        return 0.0
    ratio = float(special.betaln(wrong + 1, right + 1)) + math.log(above) - math.log1p(-null_rate)
    return math.exp(min(700.0, ratio - wrong * math.log(null_rate) - right * math.log1p(-null_rate)))


def at_least(wrong: int, tried: int, rate: float) -> float:
    """Return the probability that ``wrong`` or more of ``tried`` tenants go wrong when each does so with probability ``rate``."""
    if wrong <= 0:
        return 1.0
    return 0.0 if wrong > tried else float(importlib.import_module("scipy.special").bdtrc(wrong - 1, tried, rate))


@dataclass(frozen=True)
class Early:
    """The bet on the first tenants: at ``wrong`` of the first ``tenants`` the fleet stops. ``chance`` is that of a good release, 0 without a bet."""

    wrong: int
    tenants: int
    chance: float


@functools.cache
def early(null_rate: float, alpha: float) -> Early:
    """Return the bet that finds the mildest release that is to be found early with the highest probability, within its part of ``alpha``."""
    bets = [
        Early(wrong, tenants, chance)
        for wrong in range(1, EARLY_TENANTS + 1)
        for tenants in range(wrong, EARLY_TENANTS + 1)
        if (chance := at_least(wrong, tenants, null_rate)) <= EARLY_PART * alpha
    ]
    if not bets or null_rate >= MILDEST:
        return Early(0, 0, 0.0)
    return max(bets, key=lambda bet: at_least(bet.wrong, bet.tenants, MILDEST))


def e_value(wrong: int, tried: int, null_rate: float, alpha: float, first_wrong: int | None = None) -> float:
    """Return the evidence against "at most ``null_rate`` of the tenants go wrong" after ``wrong`` of ``tried`` did.

    ``first_wrong`` is how many went wrong among the first ``early(...).tenants``; all of them when so many have not been tried yet.
    Two test martingales with one stake: most of it bets on the first tenants, and is worth 1/``alpha`` when as many of them went wrong
    as was bet on, nothing when they did not, and in between the probability that it will come to that, over ``alpha``. The rest bets on
    all tenants, see ``mixture``. Both can only fall, on average, while the release is good, in whatever order and however often one looks.
    """
    bet = early(null_rate, alpha)
    first = min(tried, bet.tenants)
    seen = min(wrong, first) if first_wrong is None else first_wrong
    won = at_least(bet.wrong - seen, bet.tenants - first, null_rate) / alpha if bet.tenants else 0.0
    return won + (1 - bet.chance / alpha) * mixture(wrong, tried, null_rate)


def judge(rule: Rule, tenants: Sequence[Tenant], total: int) -> dict[str, Any]:
    """Return whether the fleet of ``total`` tenants stops now: ``stop``, ``reason``, and the figures behind them.

    ``tenants`` are in the order in which they were first tried. One that went wrong and then, tried again, did not, stays evidence: which are
    tried again is chosen by how they fared, so that their second outcome says nothing about a release that is met for the first time.
    """
    wrong = {tenant.name: why for tenant in tenants if (why := tenant.wrong(rule))}
    earlier = {tenant.name: tenant.earlier for tenant in tenants if tenant.earlier and tenant.name not in wrong}
    bad = [tenant.name in wrong or tenant.name in earlier for tenant in tenants if tenant.counts]
    first = early(rule.null_rate, rule.alpha).tenants
    evidence, limit = e_value(sum(bad), len(bad), rule.null_rate, rule.alpha, sum(bad[:first])), 1 / rule.alpha
    before = f" ({len(earlier)} of them in an earlier run)" if earlier else ""
    reason = ""
    if evidence >= limit:
        reason = (
            f"{sum(bad)} of {len(bad)} tenants went wrong{before}, more than a good release (at most {rule.null_rate:.0%}) explains: "
            f"evidence {evidence:.0f}, limit {limit:.0f}"
        )
    elif sum(bad) > rule.budget(total):
        reason = f"{plural(sum(bad), 'tenant')} went wrong{before} and the failure budget of {total} is {rule.budget(total)}"
    return {
        "stop": bool(reason),
        "reason": reason,
        "e_value": round(evidence, 3),
        "limit": round(limit, 3),
        "tried": len(tenants),
        "counted": len(bad),
        "as_asked": len(tenants) - len(bad),
        "few_requests": sum(tenant.result == "succeeded" and not tenant.heard(rule) for tenant in tenants),
        "wrong": wrong,
        "earlier": earlier,
        "total": total,
        "failure_budget": rule.budget(total),
    }


def summary(fleet: str, verdict: Mapping[str, Any], *, ended: bool = False, untouched: int = 0) -> str:
    """Return the state of a fleet in one sentence, with the next step where it needs one."""
    tried, total, wrong = verdict["tried"], verdict["total"], verdict["wrong"]
    state = f"fleet {fleet}: {tried} of {total} tenants done, {len(wrong)} went wrong"
    if verdict["stop"] and untouched:
        name, why = next(iter({**wrong, **verdict["earlier"]}.items()))
        return (
            f"fleet {fleet} stopped after {tried} of {total} tenants: {verdict['reason']}; {untouched} not touched; "
            f"correct the release and deploy again. First seen in {name}: {why}"
        )
    if ended and verdict["earlier"]:
        state += f" ({', '.join(sorted(verdict['earlier']))} in an earlier run only)"
    if ended and wrong:
        names = ", ".join(sorted(wrong)[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        return f"{state} ({names}); see their reports, correct what is wrong and deploy them again with --limit"
    return state if ended else f"{state} (evidence against the release {verdict['e_value']:g}, limit {verdict['limit']:g})"
