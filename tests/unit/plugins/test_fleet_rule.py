"""When a release may go on through a fleet: the figures behind the rule, exactly, and what is said of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._fleet_rule import Rule, Tenant, at_least, e_value, early, judge, mixture, summary

from benchmarks.fleet_stop import WAVES, chance_of_a_stop

ROOT = Path(__file__).resolve().parents[3]
RULE = Rule(null_rate=0.05, alpha=0.01, failure_budget="10%", error_ratio=0.01, minimum_requests=50)


def tenants(bad: int, good: int) -> list[Tenant]:
    found = [Tenant(f"bad-{number}", "rolled_back", "r2", "stage testing failed") for number in range(bad)]
    return found + [Tenant(f"good-{number}", "succeeded", "r2") for number in range(good)]


@pytest.mark.parametrize(("wrong", "tried"), [(0, 1), (1, 1), (2, 3), (5, 40), (0, 1000), (90, 1000)])
def test_the_evidence_is_the_mean_likelihood_ratio_of_all_higher_rates(wrong: int, tried: int) -> None:
    steps = 200_000
    width = 0.95 / steps
    rates = (0.05 + width * (place + 0.5) for place in range(steps))
    null = wrong * math.log(0.05) + (tried - wrong) * math.log(0.95)
    mean = sum(math.exp(wrong * math.log(rate) + (tried - wrong) * math.log1p(-rate) - null) for rate in rates) * width / 0.95
    assert mixture(wrong, tried, 0.05) == pytest.approx(mean, rel=1e-4)


def test_evidence_that_no_float_holds() -> None:
    assert mixture(0, 100_000, 0.5) == 0.0
    assert mixture(5_000, 5_000, 0.01) == pytest.approx(math.exp(700))


def evidence(outcomes: Sequence[int], null_rate: float, alpha: float) -> float:
    first = early(null_rate, alpha).tenants
    return e_value(sum(outcomes), len(outcomes), null_rate, alpha, sum(outcomes[:first]))


@pytest.mark.parametrize(("null_rate", "alpha"), [(0.05, 0.01), (0.02, 0.01), (0.1, 0.05), (0.4, 0.01), (0.7, 0.001)])
def test_the_evidence_can_only_fall_while_the_release_is_good(null_rate: float, alpha: float) -> None:
    """By every history of twelve tenants: what is expected after the next tenant is at most what is there, whatever the rate of a good release."""
    assert evidence([], null_rate, alpha) == pytest.approx(1.0)
    for tried in range(12):
        for history in itertools.product((0, 1), repeat=tried):
            now, right, wrong = (evidence([*history, *then], null_rate, alpha) for then in ([], [0], [1]))
            assert wrong >= right - 1e-9
            assert null_rate * wrong + (1 - null_rate) * right == pytest.approx(now)


def test_the_bet_on_the_first_tenants() -> None:
    bet = early(0.05, 0.01)
    assert (bet.wrong, bet.tenants, round(bet.chance, 6)) == (3, 9, 0.008361)
    assert e_value(3, 9, 0.05, 0.01) >= 100 > e_value(2, 9, 0.05, 0.01)
    assert e_value(3, 10, 0.05, 0.01, 2) < 100
    # Where a good release is as bad as the mildest bad one there is nothing to bet on.
    assert early(0.3, 0.01).tenants == 0
    assert e_value(5, 9, 0.3, 0.01) == mixture(5, 9, 0.3)


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.7])
def test_no_rule_with_so_few_false_stops_finds_many_more_within_ten(rate: float) -> None:
    """The likelihood ratio of ten tenants grows with how many went wrong, so that no test of the same level has more power (Neyman, Pearson)."""
    spare = (0.01 - at_least(4, 10, 0.05)) / (at_least(3, 10, 0.05) - at_least(4, 10, 0.05))
    best = at_least(4, 10, rate) + spare * (at_least(3, 10, rate) - at_least(4, 10, rate))
    assert 0.92 * best < chance_of_a_stop(rate, RULE, 1000, WAVES)["within_ten"] < best


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_a_good_release_is_stopped_with_less_than_one_percent(rate: float) -> None:
    assert chance_of_a_stop(rate, RULE, 300, [1] * 300)["stopped"] < 0.01


def test_a_bad_release_meets_ten_tenants_at_most() -> None:
    found = chance_of_a_stop(0.9, RULE, 1000, WAVES)
    assert found["within_ten"] > 0.999
    assert found["mean_tried"] < 5


@pytest.mark.parametrize(("rate", "least"), [(0.3, 0.53), (0.5, 0.9), (0.7, 0.99), (1.0, 0.999999)])
def test_how_often_a_milder_one_meets_ten_at_most(rate: float, least: float) -> None:
    assert chance_of_a_stop(rate, RULE, 1000, WAVES)["within_ten"] > least


def test_the_default_waves_are_those_of_the_curves() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/deploy_vertical.yml").read_text())
    (serial,) = [play["serial"] for play in plays if "serial" in play]
    assert f" else fleet_waves | default({WAVES}) }}}}" in serial


def test_the_curves_agree_with_single_fates() -> None:
    """The exact figure against all fates of ten tenants, each judged after each wave as a fleet is."""
    rate, within = 0.4, 0.0
    for fate in itertools.product((0, 1), repeat=10):
        outcomes = [Tenant(f"t{place}", "failed" if bad else "succeeded") for place, bad in enumerate(fate)]
        if any(judge(RULE, outcomes[:end], 1000)["stop"] for end in (1, 3, 6, 10)):
            within += math.prod(rate if bad else 1 - rate for bad in fate)
    assert chance_of_a_stop(rate, RULE, 1000, WAVES)["within_ten"] == pytest.approx(within)


def test_two_that_go_wrong_do_not_stop_a_fleet_and_three_of_three_do() -> None:
    assert judge(RULE, tenants(2, 0), 40)["stop"] is False
    verdict = judge(RULE, tenants(3, 0), 40)
    assert verdict["stop"] is True
    assert verdict["reason"] == "3 of 3 tenants went wrong, more than a good release (at most 5%) explains: evidence 445, limit 100"
    assert summary("f1", verdict, untouched=37) == (
        f"fleet f1 stopped after 3 of 40 tenants: {verdict['reason']}; 37 not touched; correct the release and deploy again. "
        "First seen in bad-0: stage testing failed"
    )


def test_the_failure_budget() -> None:
    strict = Rule(0.05, 0.01, "0", 0.01, 50)
    assert judge(strict, tenants(1, 30), 40)["reason"] == "1 tenant went wrong and the failure budget of 40 is 0"
    assert (RULE.budget(12), RULE.budget(1000), strict.budget(1000)) == (3, 100, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"null_rate": 0.0}, "null_rate is 0.0; it must be a share between 0 and 1, for example 0.05"),
        ({"alpha": 1.5}, "alpha is 1.5; it must be"),
        ({"failure_budget": "many"}, "failure_budget is 'many'; it must be a number of tenants (5) or a share of the fleet (10%)"),
        ({"failure_budget": "101%"}, "failure_budget is '101%'"),
        ({"failure_budget": "-1"}, "failure_budget is '-1'"),
    ],
)
def test_a_rule_that_cannot_be(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Rule(**{**vars(RULE), **changed})
    assert caught.value.message.startswith(said)


def test_what_customers_met_counts_when_they_were_enough() -> None:
    assert Tenant("a", "succeeded", "r2", requests=49, errors=49).wrong(RULE) == ""
    assert Tenant("a", "succeeded", "r2", requests=100, errors=1).wrong(RULE) == ""
    assert Tenant("a", "succeeded", "r2", requests=100, errors=2).wrong(RULE) == "2 of 100 requests to r2 ended in a server error"


def test_tenants_that_were_as_asked_already_are_no_evidence() -> None:
    unchanged = [Tenant(f"same-{number}", "unchanged", "r1") for number in range(500)]
    verdict = judge(RULE, [*unchanged, *tenants(3, 0)], 1000)
    assert (verdict["stop"], verdict["tried"], verdict["counted"], verdict["as_asked"]) == (True, 503, 3, 500)
    assert verdict["reason"].startswith("3 of 3 tenants went wrong")


def test_too_few_requests_leave_the_word_to_the_gates() -> None:
    silent = [Tenant(f"silent-{number}", "succeeded", "r2", requests=49, errors=49) for number in range(4)]
    heard = [Tenant("heard", "succeeded", "r2", requests=50)]
    verdict = judge(RULE, [*silent, *heard, *tenants(1, 0)], 100)
    assert (verdict["counted"], verdict["few_requests"], list(verdict["wrong"])) == (6, 4, ["bad-0"])
    assert verdict["e_value"] == judge(RULE, tenants(1, 5)[::-1], 100)["e_value"]


def test_a_failure_stays_evidence_when_the_tenant_goes_well_at_the_second_try() -> None:
    again = [replace(tenant, result="succeeded", earlier="no image") for tenant in tenants(3, 0)]
    verdict = judge(RULE, again, 40)
    assert (verdict["stop"], verdict["wrong"], list(verdict["earlier"])) == (True, {}, ["bad-0", "bad-1", "bad-2"])
    assert verdict["reason"].startswith("3 of 3 tenants went wrong (3 of them in an earlier run), more than")
    assert summary("f1", verdict, untouched=37).endswith("First seen in bad-0: no image")


def test_the_last_sentence_names_who_went_wrong() -> None:
    verdict = judge(RULE, tenants(7, 193), 200)
    assert summary("f1", verdict, ended=True) == (
        "fleet f1: 200 of 200 tenants done, 7 went wrong (bad-0, bad-1, bad-2, bad-3, bad-4 and 2 more); "
        "see their reports, correct what is wrong and deploy them again with --limit"
    )
    assert summary("f1", judge(RULE, tenants(0, 200), 200), ended=True) == "fleet f1: 200 of 200 tenants done, 0 went wrong"
