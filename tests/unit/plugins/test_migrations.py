"""What the statements of migrations do, what the gate says about a rehearsal, and what images say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.barberpro.platform.plugins.lookup.migrations import LookupModule, _said
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._migrations import lint

from tests.support import loopback
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
DUE = [{"workload": "booking", "from": "0001", "to": "0002"}]
STATEMENT = {"service": "booking", "sql": "A", "loses": ""}
FINE: dict[str, Any] = {"serving": 3, "tried": ["booking"], "statements": [STATEMENT], "losing": [], "broken": [], "failures": [], "findings": []}


def test_the_linter_names_the_locks_that_customers_wait_for() -> None:
    statements = [
        "ALTER TABLE bookings ADD COLUMN note text",
        "ALTER TABLE bookings\n ALTER COLUMN price TYPE bigint",
        "CREATE INDEX by_note ON bookings (note)",
        "ALTER TABLE bookings ADD CONSTRAINT narrow CHECK (price > 0)",
    ]
    found = lint(statements)
    assert [(item["statement"], item["rule"], item["refused"]) for item in found] == [
        ("ALTER TABLE bookings ALTER COLUMN price TYPE bigint", "changing-column-type", True),
        ("CREATE INDEX by_note ON bookings (note)", "require-concurrent-index-creation", False),
        ("ALTER TABLE bookings ADD CONSTRAINT narrow CHECK (price > 0)", "constraint-missing-not-valid", True),
    ]
    assert all(item["message"] for item in found)


def test_a_table_that_is_made_with_them_locks_nobody_out() -> None:
    assert lint(["CREATE TABLE more (id bigint)", "CREATE INDEX by_id ON more (id)", "ALTER TABLE more ADD CONSTRAINT c CHECK (id > 0)"]) == []
    assert lint([]) == []


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("TRUNCATE bookings", "truncating-table"),
        ("TRUNCATE TABLE ONLY more, bookings CASCADE", "truncating-table"),
        ("LOCK TABLE bookings", "locking-table"),
        ("LOCK more, bookings IN SHARE MODE NOWAIT", "locking-table"),
        ("LOCK TABLE bookings NOWAIT", "locking-table"),
        ("CLUSTER bookings USING by_start", "clustering-table"),
        ('TRUNCATE "bookings"', "truncating-table"),
        ("REINDEX TABLE bookings", "require-concurrent-reindex"),
    ],
)
def test_locks_that_are_held_until_the_migration_ends_are_refused(statement: str, rule: str) -> None:
    found = lint(["CREATE TABLE more (id bigint)", 'CREATE TABLE "m" (id bigint)', statement])
    assert [(item["statement"], item["rule"], item["refused"]) for item in found] == [(statement, rule, True)]
    assert all(item["message"] and item["help"] for item in found)


@pytest.mark.parametrize("statement", ["LOCK TABLE bookings IN ROW EXCLUSIVE MODE", "TRUNCATE more", "LOCK TABLE more", "SELECT 'TRUNCATE bookings'"])
def test_locks_that_keep_nobody_waiting_pass(statement: str) -> None:
    assert lint(["CREATE TABLE more (id bigint)", statement]) == []


def test_what_the_linter_cannot_read_is_named_and_the_rest_judged_all_the_same() -> None:
    found = lint(["FOO BAR", "ALTER TABLE bookings ADD CONSTRAINT narrow CHECK (price > 0)"])
    assert [(item["statement"], item["rule"], item["message"], item["refused"]) for item in found[:1]] == [
        ("FOO BAR", "syntax-error", "the linter cannot read it: its locks were not judged", False),
    ]
    assert [(item["rule"], item["refused"]) for item in found[1:]] == [("constraint-missing-not-valid", True)]


def test_a_linter_that_is_missing_is_named() -> None:
    with pytest.raises(PlatformError, match=r"the linter of migrations \(/nowhere/squawk\) failed: .*; install squawk-cli for the interpreter"):
        lint(["SELECT 1"], "/nowhere/squawk")


def test_nothing_due_and_nothing_tried(check: Check) -> None:
    assert check("migrations", schema="t_1") == "passed: no migration is due"
    assert check("migrations", schema="t_1", migrations=DUE, untried="no revision serves yet") == (
        "passed: booking 0001 -> 0002: not tried, no revision serves yet"
    )
    unknown = [{"workload": "queue", "from": "", "to": ""}]
    assert check("migrations", schema="t_1", migrations=unknown) == "passed: queue nothing -> unknown: not tried, no reason given"


def test_what_passes_is_said_with_what_to_know(check: Check) -> None:
    losing = {"service": "booking", "sql": "DROP TABLE old", "loses": "drops a table"}
    finding = {"statement": "CREATE INDEX i ON a (b)", "rule": "r", "message": "Updates are blocked.", "help": "", "refused": False}
    assert check("migrations", schema="t_1", migrations=DUE, rehearsal={**FINE, "losing": [losing], "findings": [finding]}) == (
        "passed: booking 0001 -> 0002: r3 works after 1 statement, tried in a scratch schema; 1 statement could lose data (DROP TABLE old); "
        "CREATE INDEX i ON a (b): Updates are blocked"
    )


def test_what_is_not_tried_beside_what_is_is_said_with_the_reason(check: Check) -> None:
    due = [*DUE, {"workload": "walkin_queue", "from": "", "to": "0001"}]
    found = check("migrations", schema="t_1", migrations=due, rehearsal=FINE, reasons={"walkin_queue": "no revision of it serves yet"})
    assert found == (
        "passed: booking 0001 -> 0002: r3 works after 1 statement, tried in a scratch schema; walkin_queue nothing -> 0001: not tried, "
        "no revision of it serves yet"
    )


AHEAD: dict[str, Any] = {"due": DUE, "services": [{"name": "booking"}], "untried": {}, "missing": []}
BROKEN: dict[str, Any] = {"service": "booking", "statement": "ALTER TABLE a\n DROP b", "query": "insert_booking", "reason": 'column "b" is gone'}


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({}, "passed: its services that keep tables are those that serve"),
        ({"ahead": AHEAD | {"due": [], "services": []}}, "passed: no migration since r1"),
        ({"ahead": AHEAD, "rehearsal": FINE}, "passed: booking 0001 -> 0002: r1 works after 1 statement, tried in a scratch schema"),
        ({"ahead": AHEAD, "untried": "in a dry run"}, "passed: not tried, in a dry run"),
        ({"untried": "database d at h:1 cannot be reached"}, "passed: not tried, database d at h:1 cannot be reached"),
        (
            {"ahead": AHEAD | {"due": [], "untried": {"booking": "its image does not say"}}},
            "passed: booking: not tried, its image does not say",
        ),
        (
            {"ahead": AHEAD, "rehearsal": FINE | {"broken": [BROKEN]}, "backups": ["T-before-r4", "T-before-r2"]},
            'failed: r1 does not work on today\'s schema: since the statement "ALTER TABLE a DROP b" of a later release, query insert_booking of booking '
            'fails (column "b" is gone); deploy forward (deploy_vertical.yml) instead, or return to the schema from before that first, which loses the '
            "bookings made since: restore_backup.yml -e backup=T-before-r2 -e confirm=x",
        ),
        (
            {"ahead": AHEAD, "rehearsal": FINE | {"failures": [{"service": "booking", "step": "prepare", "reason": "no database"}]}},
            "failed: whether r1 works on today's schema cannot be tried: prepare of booking: no database; deploy forward (deploy_vertical.yml) instead: "
            "no backup of the schema from before that was found",
        ),
        (
            {"ahead": AHEAD | {"services": [], "missing": DUE}},
            "failed: the schema of booking is at migration 0002, r1 knows 0001, and no kept revision has the image that brings it: whether the code of that "
            "revision still works cannot be tried; name that image (-e '{\"image_overrides\": {\"KEY\": \"IMAGE\"}}', KEY of the image catalogue), "
            "or deploy forward",
        ),
    ],
)
def test_whether_a_kept_revision_fits_todays_schema(check: Check, found: dict[str, Any], sentence: str) -> None:
    assert check("schema_fits", revision=1, tenant="x", **found) == sentence


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            {"broken": [{"service": "booking", "statement": "ALTER TABLE a\n RENAME b TO c", "query": "insert_booking", "reason": 'column "b" is gone'}]},
            'failed: the statement "ALTER TABLE a RENAME b TO c" breaks revision r3, which serves meanwhile: query insert_booking of booking fails '
            '(column "b" is gone); expand now (add what is new, keep what is old) and contract in a later release, when nothing uses the old any more',
        ),
        (
            {"failures": [{"service": "booking", "step": "capture", "reason": "X fails on a schema at 0001 that holds rows: null"}]},
            "failed: the migration of booking: X fails on a schema at 0001 that holds rows: null; repair the image and deploy again",
        ),
        (
            {"failures": [{"service": "booking", "step": "prepare", "reason": "no database"}]},
            "failed: the migrations cannot be tried with the code that serves of booking: no database; repair the image and deploy again",
        ),
        (
            {"findings": [{"statement": "S", "rule": "changing-column-type", "message": "Rewrites.", "help": "Do not.", "refused": True}]},
            'failed: the statement "S" keeps customers waiting for a lock (changing-column-type): Rewrites; Do not',
        ),
    ],
)
def test_what_is_refused_is_named(check: Check, found: dict[str, Any], sentence: str) -> None:
    assert check("migrations", schema="t_1", migrations=DUE, rehearsal={**FINE, **found}) == sentence


def registry(request: Request) -> Reply:
    """An image for one platform, one for several, one without labels, one whose configuration is kept elsewhere."""
    path = request.path
    labels = {"platform.barberpro.migrations": "alembic_version_booking=0007"}
    answers: dict[str, Any] = {
        "/v2/one/manifests/1": {"config": {"digest": "sha256:c"}},
        "/v2/one/blobs/sha256:c": {"config": {"Labels": labels}},
        "/v2/many/manifests/1": {"manifests": [{"digest": "sha256:m"}]},
        "/v2/many/manifests/sha256:m": {"config": {"digest": "sha256:c"}},
        "/v2/many/blobs/sha256:c": {"config": {"Labels": labels}},
        "/v2/bare/manifests/1": {"config": {"digest": "sha256:c"}},
        "/v2/bare/blobs/sha256:c": {"config": {}},
        "/v2/moved/manifests/1": {"config": {"digest": "sha256:c"}},
        "/elsewhere?token=1": {"config": {"Labels": labels}},
        "/v2/odd/manifests/1": ["nothing"],
    }
    if path == "/v2/moved/blobs/sha256:c":
        return Reply(307, headers={"Location": "/elsewhere?token=1"})
    return Reply(200, json.dumps(answers[path])) if path in answers else Reply(404)


@pytest.mark.parametrize(
    ("repository", "head", "problem"),
    [
        ("one", "0007", ""), ("many", "0007", ""), ("moved", "0007", ""), ("bare", "", ""),
        ("none", "", "does not say its labels: HTTP 404"), ("odd", "", "does not say its labels: it answers something else than a document"),
    ],
)
def test_images_say_which_migrations_they_bring(repository: str, head: str, problem: str) -> None:
    with loopback.web(registry) as server:
        image = f"{server.address}/{repository}:1"
        found = _said(image, None, None)
    assert (found["image"], found["head"], found["table"]) == (image, head, "alembic_version_booking" if head else "")
    assert found["problem"] == (f"image {image}: registry {server.address} {problem}" if problem else "")


def test_the_lookup_answers_for_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = LookupModule()
    # Ansible's plugin loader fills the options in from the documentation.
    monkeypatch.setattr(lookup, "set_options", lambda **_options: None)
    monkeypatch.setattr(lookup, "get_option", lambda _name: None)
    with loopback.web(registry) as server:
        found = lookup.run([f"{server.address}/one:1", f"{server.address}/bare:1"])
    assert [item["head"] for item in found] == ["0007", ""]
