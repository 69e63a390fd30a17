"""The plan as a document and as text, from what a run's read-only calls return."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._plan import build, text

RELEASE: dict[str, Any] = {"revision": "r3", "number": 3, "current": 3, "pending": None, "kept": [2, 3], "changed": False, "changes": [], "unchanged": 29}
PARTS = ("infrastructure", "database", "backup", "dns", "certificate", "settings", "key")
NOTHING: dict[str, Any] = {"tenant": "x", "keep": 10, "recovery": "", **{part: {} for part in PARTS}}


def plan(**given: Any) -> dict[str, Any]:
    return build({**NOTHING, "release": RELEASE, **given}, "now", "v1.35.4")


def test_nothing_to_do() -> None:
    found = plan(key={"key": "tenant-x", "changed": False, "before": {"exists": True}})
    assert (found["changed"], found["key"], found["kubernetes"]) == (False, {"name": "tenant-x", "action": "unchanged"}, "v1.35.4")
    assert text(found) == "Plan of tenant x, now: r3 serves.\nNothing would change; 29 objects are as asked.\n"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"key": {"key": "tenant-x", "changed": False, "action": "created", "before": {"exists": False}}}, "Key: + tenant-x: created"),
        ({"key": {"key": "tenant-x", "changed": False, "action": "changed", "before": {"exists": True}}}, "Key: ~ tenant-x: changed"),
        ({"recovery": "The run of ana was killed."}, "The run of ana was killed."),
        ({"database": {"schema": "t_1", "changes": ["create schema t_1"]}}, "  ~ create schema t_1"),
        ({"certificate": {"names": ["*.z"], "secret": "g/w", "due": "it does not exist"}}, "  ~ certificate g/w for *.z would be issued: it does not exist"),
        (
            {"dns": {"changed": True, "record": {"host": "x.z", "type": "A", "values": ["10.0.0.2"], "previous": ["10.0.0.1"]}}},
            "  ~ x.z A 10.0.0.2: changed (was 10.0.0.1)",
        ),
        (
            {"dns": {"changed": True, "record": {
                "host": "x.z", "type": "CNAME", "values": ["g.z"], "previous": [], "other": [{"type": "A", "values": ["10.0.0.1"]}],
            }}},
            "  ~ x.z CNAME g.z: changed (was A 10.0.0.1)",
        ),
        ({"settings": {"fields": ["name"], "before": {"name": "a"}, "after": {"name": "b"}}}, '-  "name": "a"'),
    ],
)
def test_each_part_makes_it_a_change_and_is_said(given: dict[str, Any], line: str) -> None:
    found = plan(**given)
    assert found["changed"] is True
    assert line in text(found).splitlines()


MIGRATION = {"workload": "booking", "image": "b:2", "table": "alembic_version_booking", "from": "0001", "to": "0002"}
DATABASE = {"schema": "t_1", "changes": ["create schema t_1"], "migrations": [MIGRATION]}
BACKUP = {"name": "TIME-before-r4", "claim": "data/backups", "keep": "5", "rehearsed": {"services": [], "untried": {"booking": "it has no rehearsal"}}}


def test_a_backup_is_said_before_the_migrations_that_it_is_taken_for() -> None:
    found = plan(database=DATABASE, backup=BACKUP)
    why = "because the migration of booking (0001 -> 0002) cannot be tried, as it has no rehearsal, so that nobody knows what it could lose"
    place = {"schema": "t_1", "name": "TIME-before-r4", "claim": "data/backups", "folder": "x", "keep": 5}
    assert found["database"]["backup"] == {"certain": True, "why": why, **place}
    lines = text(found).splitlines()
    assert lines[lines.index("Database (schema t_1):") + 1 :][:4] == [
        "  ~ create schema t_1",
        "  + backup TIME-before-r4 of schema t_1, to folder x of volume claim data/backups (the newest 5 are kept),",
        f"      {why}",
        "  ~ migrate booking from 0001 to 0002 (alembic_version_booking, by b:2)",
    ]


def test_a_backup_that_only_the_run_can_decide_on_is_a_question() -> None:
    trying = {"services": [{"name": "booking", "migrates": True}], "untried": {}}
    found = plan(database=DATABASE, backup={**BACKUP, "rehearsed": trying})
    assert found["database"]["backup"]["certain"] is False
    assert "  ? backup TIME-before-r4 of schema t_1, " in text(found)


@pytest.mark.parametrize("given", [{"database": DATABASE}, {"database": {**DATABASE, "migrations": []}, "backup": BACKUP}], ids=["no rows", "no migration"])
def test_no_backup_is_said_where_none_is_taken(given: dict[str, Any]) -> None:
    found = plan(**given)
    assert found["database"]["backup"] == {}
    assert "backup" not in text(found)


def test_a_record_that_is_kept_by_hand_is_said_and_is_no_change() -> None:
    found = plan(dns={"changed": False, "record": {"host": "x.z", "type": "A", "values": ["10.0.0.2"], "previous": []}})
    assert (found["dns"]["action"], found["changed"]) == ("by hand", False)


def test_revisions_that_go() -> None:
    release = {**RELEASE, "number": 5, "revision": "r5", "pending": 4, "kept": [1, 2, 3, 4], "changed": True}
    assert plan(release=release, keep=3)["history"] == {"stored": "r5", "dropped": ["r1", "r4"]}


def test_secrets_are_marks_whatever_came_in() -> None:
    secret = "apiVersion: v1\nkind: Secret\ndata:\n  password: c2VjcmV0\nmetadata:\n  name: database\n"
    difference = {"before_header": "Secret t/database", "after_header": "Secret t/database", "before": "", "after": secret}
    changes = [{"object": "Secret t/database", "action": "created", "phase": "workloads"}]
    found = plan(release={**RELEASE, "changed": True, "changes": changes, "differences": [difference]})
    assert "c2VjcmV0" not in str(found)
    assert "(redacted)" in found["objects"][0]["after"]
