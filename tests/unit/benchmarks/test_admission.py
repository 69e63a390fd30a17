"""What the benchmark of admission writes, and when it judges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import admission, owners, tenancy

TEMPLATE = Path(__file__).resolve().parents[3] / "roles" / "platform" / "templates" / "admission.yml.j2"


def test_kinds_that_the_rules_judge_are_written_and_each_has_a_wrong_object_of_theirs() -> None:
    rules = TEMPLATE.read_text().partition("  name: barberpro-tenant-rules\n")[2].partition("matchConditions")[0]
    judged = {word for found in re.findall(r"resources: \[(.*)\]", rules) for word in found.replace('"', "").split(", ")} | {"httproutes"}
    objects = owners.objects("shop", "bench")
    theirs = {obj["kind"] for obj in objects if f"{obj['kind'].lower()}s" in judged}
    assert theirs == {"Pod", "Deployment", "CronJob", "Service", "HTTPRoute"}
    for obj in objects:
        assert obj["metadata"]["namespace"] == "tenant-shop"
        wrong = [control for control, _bad in owners.wrong(obj)]
        assert wrong[0] == "control removal"
        assert len(wrong) == (2 if obj["kind"] in theirs else 1), obj["kind"]


def test_a_wrong_object_differs_in_one_field_and_leaves_the_good_one_alone() -> None:
    pod = owners.objects("shop", "bench")[0]
    _control, bad = owners.wrong(pod)[1]
    assert bad["spec"]["containers"][0].pop("image") != pod["spec"]["containers"][0]["image"]
    assert {**bad["spec"]["containers"][0], "image": pod["spec"]["containers"][0]["image"]} == pod["spec"]["containers"][0]
    assert owners.relabelled(pod)["metadata"]["labels"] == {"app": "bench", "again": "yes"}
    assert pod["metadata"]["labels"] == {"app": "bench"}


def found(added: float, blocks: int = admission.BLOCKS) -> dict[str, Any]:
    """A measurement whose requests take a fixed time."""
    return {**admission.summary([[5.0 + added] * 10] * 20, [[5.0] * 10] * 20), "blocks": blocks, "rounds": admission.ROUNDS}


def test_p50_and_p99_are_told_with_and_without_the_policies() -> None:
    shown = admission.summary([[1.0] * 95 + [9.0] * 5] * 2, [[1.0] * 100] * 2)
    assert (shown["with"], shown["without"]) == ({"p50": 1.0, "p99": 9.0}, {"p50": 1.0, "p99": 1.0})
    assert (shown["added"], shown["added_p50"], shown["requests"]) == (8.0, 0.0, 200)


def test_the_interval_is_as_wide_as_the_blocks_differ() -> None:
    plain = [[1.0] * 100] * 20
    assert admission.summary([[3.0] * 100] * 20, plain)["added_interval"] == [2.0, 2.0]
    # One block of twenty is slow: it is drawn in about two of three samples.
    low, high = admission.interval([[9.0] * 100, *[[3.0] * 100] * 19], plain)
    assert (low, high) == (2.0, 8.0)
    assert admission.interval(plain, plain) == [0.0, 0.0]


def test_only_the_full_sample_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert not tenancy.told({"admission": found(2.0)})
    assert capsys.readouterr().err == ""
    assert tenancy.told({"admission": found(2.5)})
    assert "add 2.5 ms (95 % interval 2.5 to 2.5) to the p99 of a request, and 2 ms are allowed" in capsys.readouterr().err
    assert not tenancy.told({"admission": found(2.5, blocks=2)})
    assert "admission is not judged: 200 requests are too few for a p99" in capsys.readouterr().err
    assert not tenancy.told({})
    assert "a bare look does not measure it" in capsys.readouterr().err
