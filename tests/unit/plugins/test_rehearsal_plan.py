"""Which services can be rehearsed, what a roll back must try, and when a backup is due."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.filter.backup_reason import FilterModule as BackupReason
from ansible_collections.barberpro.platform.plugins.filter.rehearsal_plan import FilterModule as RehearsalPlan
from ansible_collections.barberpro.platform.plugins.filter.rollback_plan import FilterModule as RollbackPlan
from ansible_collections.barberpro.platform.plugins.module_utils._rehearsal_plan import backup_for, planned_backup

backup_reason = BackupReason().filters()["backup_reason"]
rehearsal_plan = RehearsalPlan().filters()["rehearsal_plan"]
rollback_plan = RollbackPlan().filters()["rollback_plan"]

WORKLOADS: dict[str, Any] = {"booking": {"rehearse": ["b"]}, "walkin_queue": {"rehearse": ["w"]}}
DUE = [{"workload": "booking", "from": "0001", "to": "0002"}]
NEW_WORKLOAD = {"workload": "walkin_queue", "from": "", "to": "0001"}


def says(image: str, head: str, table: str = "alembic_version_booking") -> dict[str, str]:
    """Return what the lookup says of an image."""
    return {"image": image, "table": table if head else "", "head": head, "problem": ""}


def service(name: str, old: str, new: str, *, migrates: bool) -> dict[str, Any]:
    return {"name": name, "command": [name[0]], "old": old, "new": new, "migrates": migrates}


@pytest.mark.parametrize(
    ("rehearsal", "reason"),
    [
        ({"tried": ["booking"], "losing": []}, ""),
        ({"tried": ["booking"], "losing": [{"sql": "DROP TABLE a", "loses": "drops a table"}]}, "DROP TABLE a drops a table"),
        ({}, "The migration of booking (0001 -> 0002) was not tried, so that nobody knows what it could lose"),
        ({"tried": ["walkin_queue"], "losing": []}, "The migration of booking (0001 -> 0002) was not tried, so that nobody knows what it could lose"),
    ],
)
def test_a_backup_is_due_unless_all_was_tried_and_nothing_can_be_lost(rehearsal: dict[str, Any], reason: str) -> None:
    assert backup_reason(DUE, rehearsal) == reason


def test_no_backup_is_due_when_no_migration_is() -> None:
    assert backup_reason([], {}) == ""


TRYING = {"services": [service("booking", "b1", "b2", migrates=True), service("walkin_queue", "w1", "w1", migrates=False)], "untried": {}}
NOT_KNOWN = "so that nobody knows what it could lose"


@pytest.mark.parametrize(
    ("due", "rehearsed", "certain", "why"),
    [
        (
            DUE, TRYING, False,
            "if the rehearsal of booking (0001 -> 0002), which is left to the run since it writes, finds a statement that is not known to keep all data",
        ),
        (
            [*DUE, NEW_WORKLOAD], {"services": [service(name, "a", "b", migrates=True) for name in WORKLOADS], "untried": {}}, False,
            "if the rehearsal of booking (0001 -> 0002) and walkin_queue (nothing -> 0001), which is left to the run since it writes, "
            "finds a statement that is not known to keep all data",
        ),
        # What is tried beside it may lose something or not.
        (
            [*DUE, NEW_WORKLOAD], TRYING | {"untried": {"walkin_queue": "no revision of it serves yet"}}, True,
            f"because the migration of walkin_queue (nothing -> 0001) cannot be tried, as no revision of it serves yet, {NOT_KNOWN}",
        ),
        (
            DUE, {"services": [], "untried": {}}, True,
            f"because the migration of booking (0001 -> 0002) cannot be tried, as no revision serves yet, {NOT_KNOWN}",
        ),
    ],
)
def test_before_migrations_are_tried_a_backup_is_certain_only_where_one_cannot_be(
    due: list[dict[str, str]], rehearsed: dict[str, Any], certain: bool, why: str,
) -> None:
    assert planned_backup(due, rehearsed) == {"certain": certain, "why": why}
    # The run agrees, whatever it finds in what it tries.
    tried = [item["name"] for item in rehearsed["services"] if item["migrates"]]
    assert bool(backup_reason(due, {"tried": tried, "losing": []})) is certain


def test_no_backup_is_planned_when_no_migration_is_due() -> None:
    assert planned_backup([], TRYING) == {}


def test_a_new_workload_beside_one_that_is_tried_is_named() -> None:
    found = rehearsal_plan(WORKLOADS, {"booking": "b1"}, [says("b1", "0001")], {"booking": "b2", "walkin_queue": "w1"}, [*DUE, NEW_WORKLOAD])
    assert found == {"services": [service("booking", "b1", "b2", migrates=True)], "untried": {"walkin_queue": "no revision of it serves yet"}}


def test_what_does_not_migrate_is_tried_with_what_does() -> None:
    said = [says("b1", "0001"), says("w1", "0001", "w")]
    found = rehearsal_plan(WORKLOADS, {"booking": "b1", "walkin_queue": "w1"}, said, {"booking": "b2", "walkin_queue": "w1"}, DUE)
    assert found["services"] == [service("booking", "b1", "b2", migrates=True), service("walkin_queue", "w1", "w1", migrates=False)]
    assert found["untried"] == {}


@pytest.mark.parametrize(
    ("workload", "head", "to", "reason"),
    [
        ({"rehearse": ["b"]}, "", "0002", "its image that serves does not say which migrations it knows (label platform.barberpro.migrations)"),
        ({"rehearse": ["b"]}, "0001", "", "its image to come does not say which migrations it brings (label platform.barberpro.migrations)"),
        ({}, "0001", "0002", "it has no rehearsal"),
    ],
)
def test_what_cannot_be_tried_says_why(workload: dict[str, Any], head: str, to: str, reason: str) -> None:
    due = [{"workload": "booking", "from": "0001", "to": to}]
    found = rehearsal_plan({"booking": workload}, {"booking": "b1"}, [says("b1", head)], {"booking": "b2"}, due)
    assert found == {"services": [], "untried": {"booking": reason}}


def roll_back(head: str, at: str, bringing: list[dict[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = rollback_plan({"booking": WORKLOADS["booking"]}, {"booking": "b1"}, [says("b1", head)], {"alembic_version_booking": at}, bringing)
    return found


NOTHING: dict[str, Any] = {"due": [], "services": [], "untried": {}, "missing": []}


@pytest.mark.parametrize(("head", "at"), [("0002", "0002"), ("0003", "0002"), ("0001", "")])
def test_a_roll_back_over_no_migration_tries_nothing(head: str, at: str) -> None:
    assert roll_back(head, at, []) == NOTHING


def test_a_roll_back_over_migrations_tries_them_by_the_first_image_that_brings_the_schema() -> None:
    due = [{"workload": "booking", "from": "0001", "to": "0003"}]
    bringing = [says("b2", "0002"), says("other", "0003", "another"), says("b3", "0003"), says("b4", "0003")]
    assert roll_back("0001", "0003", bringing) == NOTHING | {"due": due, "services": [service("booking", "b1", "b3", migrates=True)]}
    assert roll_back("0001", "0003", bringing[:2]) == NOTHING | {"due": due, "missing": due}


def test_an_image_that_says_nothing_is_named() -> None:
    reason = "its image does not say which migrations it knows (label platform.barberpro.migrations)"
    assert roll_back("", "0003", [says("b3", "0003")]) == NOTHING | {"untried": {"booking": reason}}


def test_the_backup_of_the_schema_that_a_revision_left_is_the_first_one_after_it() -> None:
    names = ["2026-01-03T00-00-00Z-before-r12", "2026-01-02T00-00-00Z-before-r4", "2026-01-01T00-00-00Z-before-r3", "2026-01-04T00-00-00Z-before-restore"]
    assert backup_for(3, names) == "2026-01-02T00-00-00Z-before-r4"
    assert backup_for(1, names) == "2026-01-01T00-00-00Z-before-r3"
    assert backup_for(12, names) == ""
