"""The services' password for the database is changed while customers come: nobody notices, and the role before stays good until the next time."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path

import pytest

from tests.support import cluster, looks, sql
from tests.support.customers import Customers
from tests.support.playbooks import Background, Run, deploy, play

pytestmark = [pytest.mark.cluster("beside"), pytest.mark.slow]
FIRST: dict[str, str] = {}
"""The credentials before the first rotation."""
BOUND = 240.0
"""Seconds within which pods must have changed over."""


ADMIN = ("booking-admin", "walkin-queue-admin")
JOBS = ("booking-database-owner", "booking-database-readonly")


def secret_of(tenant: str, name: str = "booking-database") -> dict[str, str]:
    """Return the credentials that the services, or jobs, are given."""
    data = cluster.objects("secret", name, "-n", f"tenant-{tenant}")[0]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def rotate(tenant: str, *arguments: str) -> Run:
    """Run the playbook."""
    return play("rotate_credentials.yml", *arguments, extra={"tenant_name": tenant})


def long_ago(tenant: str) -> None:
    """Have the Secret say that the last rotation was long ago."""
    cluster.kubectl("annotate", "secret", "booking-database", "-n", f"tenant-{tenant}", "barberpro.platform/rotated=1", "--overwrite")


def sessions(role: str) -> int:
    """Return how many sessions a role has on the server."""
    return int(sql.rows(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND application_name <> ''")[0][0])


def wait_for_the_change(new: str, old: str) -> float:
    """Wait until the services work as the new role and no longer as the old; return the seconds that it took."""
    begun = time.monotonic()
    while sessions(new) == 0 or sessions(old) > 0:
        assert time.monotonic() - begun < BOUND, f"after {BOUND:g} s {new} has {sessions(new)} sessions and {old} has {sessions(old)}"
        time.sleep(2)
    return time.monotonic() - begun


def test_a_dry_run_says_what_it_would_do(caballito: str) -> None:
    long_ago(caballito)
    before = secret_of(caballito)
    run = rotate(caballito, "--check")
    assert run.code == 0, run.output
    assert "would give" in run.words()
    assert secret_of(caballito) == before


def test_customers_notice_nothing_and_both_roles_are_good(caballito: str) -> None:
    before = secret_of(caballito)
    FIRST.update(before)
    jobs = {name: secret_of(caballito, name) for name in JOBS}
    # Migrations and exports at work: a session that is open goes on.
    tokens = {name: secret_of(caballito, name)["token"] for name in ADMIN}
    working = [sql.as_login(login) for login in jobs.values()]
    with Customers(caballito, "/api/v1/business", pause=0.1) as customers:
        run = rotate(caballito)
        assert run.code == 0, run.output
        after = secret_of(caballito)
        schema = before["schema"]
        assert {before["user"], after["user"]} == {f"{schema}_app", f"{schema}_app_b"}
        assert before["password"] not in run.output
        assert after["password"] not in run.output
        maker = "Vault" if "vault" in cluster.facts()["images"] else "this run (the platform has no Vault that keeps them)"
        assert f"role {after['user']} has a new password of {maker}; within 300 s all pods use it" in run.words()
        wait_for_the_change(after["user"], before["user"])
        early = rotate(caballito)
        assert early.code != 0
        assert "pods may still use the role that would be next. Run again in" in early.words()
        assert secret_of(caballito) == after
    customers.assert_served()
    for login in (before, after):
        assert sql.can_log_in(login["user"], login["password"])
    for connection in working:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()
    for name, token in tokens.items():
        kept = secret_of(caballito, name)
        assert (kept["previous"], len(kept["token"])) == (token, 43)
        assert kept["token"] not in run.output
        assert f"Secret {name} has a new token" in run.words()
    for name, old in jobs.items():
        new = secret_of(caballito, name)
        assert new == {**old, "password": new["password"]}
        assert new["password"] not in run.output
        assert f"role {new['user']} has a new password of {maker}; the next job uses it" in run.words()
        assert (sql.can_log_in(old["user"], old["password"]), sql.can_log_in(new["user"], new["password"])) == (False, True)


def test_a_deploy_leaves_the_pair_and_the_tokens_as_they_are(caballito: str) -> None:
    """It reads the settings from the service, which may know only the token before or only the new one."""
    names = ("booking-database", *ADMIN)
    before = [secret_of(caballito, name) for name in names]
    run = deploy(caballito)
    assert run.code == 0, run.output
    assert [secret_of(caballito, name) for name in names] == before
    assert "changed=0" in run.output


def test_the_next_rotation_returns_to_the_first_and_ends_the_old_password(caballito: str) -> None:
    long_ago(caballito)
    before = secret_of(caballito)
    with Customers(caballito, "/api/v1/business", pause=0.1) as customers:
        run = rotate(caballito)
        assert run.code == 0, run.output
        after = secret_of(caballito)
        wait_for_the_change(after["user"], before["user"])
    customers.assert_served()
    assert after["user"] == FIRST["user"]
    assert sql.can_log_in(before["user"], before["password"])
    assert not sql.can_log_in(FIRST["user"], FIRST["password"])


def test_a_deploy_clears_up_after_a_rotation_that_was_killed(caballito: str, tmp_path: Path) -> None:
    """Also where the server has the new password of a job's role already, and its Secret does not."""
    long_ago(caballito)
    with Background("rotate_credentials.yml", log=tmp_path / "killed.log", extra={"tenant_name": caballito}) as killed:
        killed.wait_for("Let the server know it]")
        killed.wait_for("Keep it where jobs read it]")
        killed.kill()
    # Whether or not the Secret had been written by then.
    owner = secret_of(caballito, "booking-database-owner")
    sql.run(f"ALTER ROLE \"{owner['user']}\" PASSWORD 'another'")
    assert not sql.can_log_in(owner["user"], owner["password"])
    run = deploy(caballito)
    assert run.code == 0, run.output
    sentence = r"The run of \S+ \(rotate credentials since [-0-9: ]+ UTC\) was killed and has left nothing to be undone; first close its journal\."
    assert re.search(sentence, run.words())
    # The killed run's last request may have reached the server after we looked.
    kept = secret_of(caballito, "booking-database-owner")
    assert sql.can_log_in(kept["user"], kept["password"])
    assert looks.bookkeeping(caballito)["closed"] is True
