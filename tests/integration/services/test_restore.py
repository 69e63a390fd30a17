"""The script that restores a backup, with PostgreSQL's own programs on a migrated schema: what returns, and that the tenant's data keys stay."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._backup import _HEAD, _SCRIPTS, _TAIL

from tests.integration.services import postgres

KEYS = "SELECT wrapped FROM data_keys ORDER BY created_at"
ADD = "INSERT INTO data_keys (id, purpose, wrapped, created_at) VALUES (gen_random_uuid(), %s, %s, now())"


@pytest.fixture
def script(tenant, tmp_path):
    """Run a state of the module as its pod does: as the schema's owner."""
    for folder in ("backups", "tmp"):
        (tmp_path / folder).mkdir()

    def run(state: str, name: str = "one") -> dict[str, object]:
        text = (_HEAD + _SCRIPTS[state] + _TAIL).replace("/tmp/", f"{tmp_path}/tmp/").replace("/backups/", f"{tmp_path}/backups/")
        login = {f"PG{variable}": tenant.read("owner", key) for variable, key in (
            ("HOST", "host"), ("PORT", "port"), ("DATABASE", "dbname"), ("SSLMODE", "sslmode"), ("USER", "user"), ("PASSWORD", "password"))}
        environment = {"PATH": f"{postgres.binaries()}:{os.environ['PATH']}", "TENANT": "x", "NAME": name, "SCHEMA": tenant.schema, "KEEP": "9", **login}
        done = subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1])["backup"])

    return run


def entries(folder: Path) -> list[str]:
    """Return the entries of the archive that a restore was given."""
    return [line for line in (folder / "tmp" / "list").read_text().splitlines() if not line.startswith(";")]


def test_rows_return_and_the_keys_of_today_stay(tenant, script, tmp_path):
    tenant.sql(ADD, "index", "vault:v1:index")
    tenant.sql(ADD, "fields", "vault:v1:one")
    tenant.sql("INSERT INTO walkin_days VALUES ('2027-03-01', 7)")
    privileges = tenant.sql("SELECT relacl::text FROM pg_class WHERE oid = 'data_keys'::regclass")
    assert script("present")["changed"] is True
    # A rotation wraps them anew and makes one more; version 1 is retired, so what the backup holds could not be unwrapped.
    tenant.sql("UPDATE data_keys SET wrapped = replace(wrapped, 'v1', 'v2')")
    tenant.sql(ADD, "fields", "vault:v2:two")
    tenant.sql("DELETE FROM walkin_days")
    assert script("restored") == {"changed": True, "found": True, "names": ["one"]}
    assert tenant.sql("SELECT last_number FROM walkin_days") == [(7,)]
    assert [row[0] for row in tenant.sql(KEYS)] == ["vault:v2:index", "vault:v2:one", "vault:v2:two"]
    assert tenant.sql("SELECT relacl::text FROM pg_class WHERE oid = 'data_keys'::regclass") == privileges
    assert [line for line in entries(tmp_path) if "data_keys" in line] == []
    assert any(" TABLE DATA " in line and " bookings " in line for line in entries(tmp_path))
    assert tenant.sql("SELECT to_regclass('data_keys_of_backup')") == [(None,)]


def test_keys_that_only_the_backup_has_are_added(tenant, script):
    """The database was lost and the tenant deployed anew: the new table does not hold what opens the restored bookings."""
    tenant.sql(ADD, "index", "vault:v1:index")
    tenant.sql(ADD, "fields", "vault:v1:one")
    script("present")
    tenant.sql("DELETE FROM data_keys")
    tenant.sql(ADD, "index", "vault:v1:another")
    script("restored")
    # There is one key for indexes; repeated requests of a day ago are not worth another.
    assert [row[0] for row in tenant.sql(KEYS)] == ["vault:v1:one", "vault:v1:another"]


def test_a_schema_without_the_table_gets_it_with_its_keys(tenant, script, tmp_path):
    tenant.sql(ADD, "fields", "vault:v1:one")
    script("present")
    tenant.sql("DROP TABLE data_keys")
    script("restored")
    assert tenant.sql(KEYS) == [("vault:v1:one",)]
    assert len([line for line in entries(tmp_path) if "data_keys" in line]) >= 4
    tenant.sql(ADD, "index", "vault:v1:index")
    with pytest.raises(psycopg.errors.UniqueViolation, match="data_keys_one_index"):
        tenant.sql(ADD, "index", "vault:v1:index")


def test_a_backup_of_before_encryption_leaves_the_table(tenant, script):
    definition = "(id uuid PRIMARY KEY, purpose text, wrapped text, created_at timestamptz)"
    tenant.sql("DROP TABLE data_keys")
    script("present")
    tenant.sql(f"CREATE TABLE data_keys {definition}; ALTER TABLE data_keys OWNER TO {tenant.schema}_owner")
    tenant.sql(ADD, "fields", "vault:v1:one")
    script("restored")
    assert tenant.sql(KEYS) == [("vault:v1:one",)]
