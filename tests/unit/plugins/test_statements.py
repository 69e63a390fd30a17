"""What a statement of a migration could lose: what is not known to keep every row counts as a loss."""

from __future__ import annotations

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._statements import UNKNOWN, loses, plain


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE a ADD COLUMN note text",
        "ALTER TABLE a ADD COLUMN n numeric(12, 2) NOT NULL DEFAULT 0, ADD COLUMN at timestamptz DEFAULT now()",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (status IN ('a', 'b')) NOT VALID",
        "ALTER TABLE ONLY a ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES other (id) ON DELETE CASCADE",
        "ALTER TABLE a ADD CONSTRAINT c EXCLUDE USING gist (staff_range(s, s, '[]') WITH &&) WHERE (status = 'x')",
        "ALTER TABLE a DROP CONSTRAINT narrow",
        "ALTER TABLE a ALTER COLUMN b DROP NOT NULL, ALTER COLUMN b DROP DEFAULT",
        "ALTER TABLE a RENAME b TO c",
        'ALTER TABLE "update" VALIDATE CONSTRAINT "drop table"',
        "CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY, b int DEFAULT f(1), c int GENERATED ALWAYS AS (b + 1) STORED)",
        "CREATE TABLE a AS SELECT count(*), lower(b) FROM c GROUP BY 2",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON a (f(b))",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ DELETE FROM a; SELECT 1 $body$",
        "CREATE OR REPLACE VIEW v AS SELECT f()",
        "DROP INDEX i",
        "DROP TYPE t",
        "INSERT INTO a VALUES ('update b; drop table c')",
        "INSERT INTO a (b, c) SELECT b, coalesce(c, 'x') FROM d ON CONFLICT (b) DO NOTHING",
        "COMMENT ON TABLE a IS 'delete from b'",
        "SELECT b FROM a WHERE id = $1 FOR UPDATE",
        "SELECT pg_catalog.to_regclass(quote_ident($1))",
        "WITH old AS (SELECT 1) SELECT * FROM old",
        "GRANT SELECT ON a TO b",
        "ALTER TYPE t ADD VALUE 'x'",
        "",
        "-- nothing at all",
    ],
)
def test_what_is_known_to_keep_all_data(sql: str) -> None:
    assert loses(sql) == ""


@pytest.mark.parametrize(
    ("sql", "how"),
    [
        ("ALTER TABLE a DROP COLUMN b", "drops a column"),
        ("alter table a\n  drop b", "drops a column"),
        ("ALTER TABLE a DROP CONSTRAINT c, DROP COLUMN IF EXISTS b", "drops a column"),
        ('ALTER TABLE a ADD COLUMN c text DEFAULT \'a, b\', DROP "constraint"', "drops a column"),
        ("-- away with it\nDROP TABLE a", "drops a table"),
        ("/* x /* y */ SELECT */ TRUNCATE a", "empties a table"),
        ("ALTER TABLE a ALTER COLUMN b TYPE smallint USING b::smallint", "changes the type of a column"),
        ("ALTER TABLE a ALTER b SET DATA TYPE smallint", "changes the type of a column"),
        ("DELETE FROM a WHERE b", "deletes rows"),
        ("WITH old AS (SELECT 1) DELETE FROM a USING old", "deletes rows"),
        ("WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone", "deletes rows"),
        ("WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone", "deletes rows"),
        ("CREATE TABLE b AS WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone", "deletes rows"),
        ("UPDATE a SET b = $1", "overwrites values"),
        ("DO $$ BEGIN EXECUTE 'drop table a'; END $$", "runs a block that may do anything"),
        ("DROP TYPE mood CASCADE", "drops the columns of that type"),
        ("DROP DOMAIN IF EXISTS price CASCADE", "drops the columns of that type"),
        ("DROP VIEW v CASCADE", "drops what depends on it"),
        ("DROP OWNED BY t_1_app", "drops all that a role owns"),
        ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE", "overwrites or deletes rows"),
        ("INSERT INTO a (b) VALUES (1) ON CONFLICT (b) DO UPDATE SET b = 2", "overwrites values"),
        ("CALL tidy()", "calls a procedure that may do anything"),
        ("SELECT tidy()", "calls tidy, which may write"),
        ("SELECT pg_catalog.query_to_xml('DELETE FROM a', true, true, '')", "calls pg_catalog.query_to_xml, which may write"),
        ("SELECT setval('s', 1)", "calls setval, which may write"),
        ('SELECT "Tidy" ()', 'calls "n", which may write'),
        ("INSERT INTO a SELECT tidy(b) FROM c", "calls tidy, which may write"),
        ("ALTER TABLE a ADD COLUMN b int DEFAULT tidy()", "calls tidy, which may write"),
        ("ALTER TABLE a ADD COLUMN c int; DROP TABLE b", "drops a table"),
        ("ALTER TABLE a SET UNLOGGED", UNKNOWN),
        ("ALTER TYPE t DROP ATTRIBUTE b", UNKNOWN),
        ("CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION f()", UNKNOWN),
        ("COPY a FROM PROGRAM 'x'", UNKNOWN),
        ("something new", UNKNOWN),
    ],
)
def test_what_could_lose_data_and_how(sql: str, how: str) -> None:
    assert loses(sql) == how


def test_a_statement_is_shown_as_one_line() -> None:
    assert plain("ALTER TABLE a -- why\n  ADD b int;\n") == "ALTER TABLE a ADD b int"
    assert plain("INSERT INTO a VALUES ('-- x', E'\\'/*', $q$ ' $q$) /* y */") == "INSERT INTO a VALUES ('-- x', E'\\'/*', $q$ ' $q$)"
