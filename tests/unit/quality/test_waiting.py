"""How tests wait: until what they wait for is there, and no longer; and they tell what they saw instead."""

from __future__ import annotations

from unittest import mock

import pytest

from tests.support.waiting import equal_to, release_when, until


def test_the_first_good_answer_is_returned() -> None:
    answers = mock.Mock(side_effect=[OSError("nobody listens"), 0, 3])
    assert until(answers, "an answer", despite=OSError, pause=0) == 3
    assert until(mock.Mock(side_effect=["Pending", "Running"]), "the pod to run", good=equal_to("Running"), pause=0) == "Running"


def test_what_was_seen_last_is_told() -> None:
    with pytest.raises(AssertionError, match=r"^waited 0 s for the pod to run; seen last: 'Pending'$"):
        until(lambda: "Pending", "the pod to run", 0, good=equal_to("Running"), pause=0)
    with pytest.raises(AssertionError, match=r"^waited 0 s for a server; seen last: ConnectionRefusedError\('no'\)$"):
        until(mock.Mock(side_effect=ConnectionRefusedError("no")), "a server", 0, despite=OSError, pause=0)


def test_an_error_that_was_not_expected_ends_the_waiting() -> None:
    with pytest.raises(KeyError):
        until(mock.Mock(side_effect=KeyError), "anything", despite=OSError)


@pytest.mark.parametrize(("waits", "seconds"), [(True, 60.0), (False, 0.0)])
def test_what_others_wait_for_is_released_in_any_case(waits: bool, seconds: float) -> None:
    release = mock.Mock()
    assert release_when(lambda: waits, release, seconds) is waits
    release.assert_called_once_with()
