"""SQL as accesses: a table of statements, dialect by dialect, with exactly what each one touches."""

from __future__ import annotations

import pytest

from remit.errors import NotCanonical
from remit.resources.sql import SqlReader
from remit.resources.sql_names import DIALECTS

READERS = {
    "postgres": SqlReader("postgres"),
    "sqlite": SqlReader("sqlite"),
    "mysql": SqlReader("mysql", schema="app"),
    "tsql": SqlReader("tsql"),
}
BASE = "db://x"


def touched(dialect: str, text: str) -> list[str]:
    """The accesses of a statement, sorted; `~` is the database."""
    return sorted(str(access).replace(BASE, "~") for access in READERS[dialect].accesses(BASE, text))


def refused(dialect: str, text: str) -> str:
    with pytest.raises(NotCanonical) as error:
        READERS[dialect].accesses(BASE, text)
    return str(error.value)


def table(text: str) -> list[tuple[str, str, list[str]]]:
    """Lines `dialect | statement | access, access`; a dialect of `*` is every one."""
    rows = []
    for line in text.strip().splitlines():
        dialects, statement, accesses = (part.strip() for part in line.split(" ¦ "))
        expected = sorted(each.strip() for each in accesses.split(","))
        rows += [(each, statement, expected) for each in (DIALECTS if dialects == "*" else dialects.split())]
    return rows


QUERIES = table("""
postgres ¦ SELECT * FROM payments ¦ read ~/public.payments
sqlite ¦ SELECT * FROM payments ¦ read ~/main.payments
mysql ¦ SELECT * FROM payments ¦ read ~/app.payments
tsql ¦ SELECT * FROM payments ¦ read ~/dbo.payments
* ¦ SELECT a.x FROM s.a, s.b JOIN s.c ON b.i = c.i LEFT JOIN s.d ON 1 = 1 ¦ read ~/s.a, read ~/s.b, read ~/s.c, read ~/s.d
* ¦ SELECT 1 ¦ read ~
* ¦ SELECT * FROM (SELECT * FROM s.a) AS q WHERE x IN (SELECT y FROM s.b) ¦ read ~/s.a, read ~/s.b
* ¦ SELECT (SELECT MAX(x) FROM s.a) FROM s.b WHERE EXISTS (SELECT 1 FROM s.c WHERE c.i = b.i) ¦ read ~/s.a, read ~/s.b, read ~/s.c
* ¦ SELECT x FROM s.a UNION SELECT y FROM s.b UNION ALL SELECT z FROM s.c ¦ read ~/s.a, read ~/s.b, read ~/s.c
* ¦ SELECT x FROM s.a EXCEPT SELECT y FROM s.b ¦ read ~/s.a, read ~/s.b
* ¦ WITH q AS (SELECT * FROM s.a) SELECT * FROM q JOIN s.b ON 1 = 1 ¦ read ~/s.a, read ~/s.b
* ¦ WITH q AS (SELECT * FROM s.a), r AS (SELECT * FROM q) SELECT * FROM r UNION SELECT * FROM q ¦ read ~/s.a
* ¦ SELECT CASE WHEN 1 = 1 THEN (SELECT 2 FROM s.a) ELSE (SELECT 3 FROM s.b) END FROM s.c ORDER BY (SELECT 4 FROM s.d) ¦ read ~/s.a, read ~/s.b, read ~/s.c, read ~/s.d
* ¦ SELECT COUNT(*), UPPER(x) FROM s.a GROUP BY x HAVING MAX(y) > (SELECT 1 FROM s.b) ¦ read ~/s.a, read ~/s.b
postgres sqlite ¦ VALUES (1), (2) ¦ read ~
mysql ¦ VALUES ROW(1), ROW(2) ¦ read ~
postgres ¦ VALUES ((SELECT x FROM a)) ¦ read ~/public.a
postgres mysql ¦ TABLE s.secret ¦ read ~/s.secret
postgres ¦ SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.i = a.i) q ¦ read ~/public.a, read ~/public.b
postgres ¦ SELECT DISTINCT ON (a) a FROM t ORDER BY a DESC NULLS LAST FETCH FIRST 5 ROWS ONLY ¦ read ~/public.t
postgres ¦ SELECT sum(x) FILTER (WHERE y IN (SELECT z FROM b)) OVER (PARTITION BY q) FROM a ¦ read ~/public.a, read ~/public.b
postgres ¦ SELECT * FROM t WHERE d ->> 'k' = $1 AND e @> '{}'::jsonb AND f = ANY(ARRAY(SELECT y FROM u)) ¦ read ~/public.t, read ~/public.u
postgres ¦ SELECT * FROM generate_series(1, 3) g, unnest(ARRAY[1]) u ¦ read ~
postgres ¦ SELECT * FROM ONLY a TABLESAMPLE SYSTEM (10) ¦ read ~/public.a
postgres ¦ SELECT * FROM a FOR UPDATE ¦ read ~/public.a, write ~/public.a
postgres ¦ WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r) SELECT n FROM r, t ¦ read ~/public.t
postgres ¦ SELECT * FROM pg_shadow ¦ read ~/pg_catalog.pg_shadow, read ~/public.pg_shadow
sqlite ¦ WITH r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r ¦ read ~
sqlite ¦ SELECT * FROM [a b], `c`, "D", 'e' ¦ read ~/main.a%20b, read ~/main.c, read ~/main.d, read ~/main.e
sqlite ¦ SELECT * FROM sqlite_schema, temp.x, sqlite_temp_master ¦ read ~/main.sqlite_master, read ~/temp.x, read ~/temp.sqlite_temp_master
sqlite ¦ SELECT value FROM t, json_each(t.a) WHERE b GLOB 'x*' AND c ISNULL ¦ read ~/main.t
sqlite ¦ SELECT name FROM pragma_table_info('t') ¦ read ~
mysql ¦ SELECT * FROM (a, b) LEFT JOIN c USE INDEX (i) ON 1 = 1 ¦ read ~/app.a, read ~/app.b, read ~/app.c
mysql ¦ SELECT IF(a, 1, 2), GROUP_CONCAT(DISTINCT b ORDER BY c SEPARATOR ',') FROM `t` WHERE d <=> NULL LIMIT 5, 6 ¦ read ~/app.t
mysql ¦ SELECT * FROM t LOCK IN SHARE MODE ¦ read ~/app.t, write ~/app.t
mysql ¦ SELECT * FROM information_schema.TABLES ¦ read ~/information_schema.tables
tsql ¦ SELECT TOP (5) * FROM [dbo].[t] WITH (NOLOCK) OUTER APPLY (SELECT * FROM u) x ¦ read ~/dbo.t, read ~/dbo.u
tsql ¦ SELECT CONVERT(varchar(10), a, 120), ISNULL(b, 0), IIF(c > 1, 2, 3) FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY ¦ read ~/dbo.t
tsql ¦ SELECT * FROM #t JOIN ##u ON 1 = 1 ¦ read ~/tempdb.%23t, read ~/tempdb.%23%23u
""")  # noqa: E501
CHANGES = table("""
* ¦ INSERT INTO s.a (x) VALUES (1) ¦ write ~/s.a
* ¦ INSERT INTO s.a (x) SELECT y FROM s.b WHERE z IN (SELECT w FROM s.c) ¦ write ~/s.a, read ~/s.b, read ~/s.c
* ¦ UPDATE s.a SET x = 1 ¦ write ~/s.a
* ¦ UPDATE s.a SET x = 1 WHERE y = (SELECT z FROM s.b) ¦ read ~/s.a, write ~/s.a, read ~/s.b
* ¦ UPDATE s.a SET x = y ¦ read ~/s.a, write ~/s.a
* ¦ DELETE FROM s.a ¦ write ~/s.a
* ¦ DELETE FROM s.a WHERE x = 1 ¦ read ~/s.a, write ~/s.a
* ¦ INSERT INTO s.a (x) SELECT x FROM s.b; DELETE FROM s.c; SELECT * FROM s.d ¦ write ~/s.a, read ~/s.b, write ~/s.c, read ~/s.d
postgres ¦ WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d ¦ read ~/public.a, write ~/public.a, write ~/public.b
postgres ¦ WITH d AS (UPDATE a SET x = 1 RETURNING x), e AS (INSERT INTO b SELECT x FROM d) SELECT * FROM c ¦ read ~/public.a, write ~/public.a, write ~/public.b, read ~/public.c
postgres ¦ UPDATE a SET x = b.x FROM b WHERE a.i = b.i ¦ read ~/public.a, write ~/public.a, read ~/public.b
postgres ¦ DELETE FROM a USING b WHERE a.i = b.i RETURNING (SELECT 1 FROM c) ¦ read ~/public.a, write ~/public.a, read ~/public.b, read ~/public.c
postgres ¦ INSERT INTO a AS z (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = (SELECT y FROM b) ¦ read ~/public.a, write ~/public.a, read ~/public.b
postgres ¦ MERGE INTO a USING b ON a.i = b.i WHEN MATCHED AND EXISTS (SELECT 1 FROM c) THEN DELETE WHEN NOT MATCHED THEN INSERT (x) VALUES ((SELECT y FROM d)) ¦ read ~/public.a, write ~/public.a, read ~/public.b, read ~/public.c, read ~/public.d
postgres ¦ TRUNCATE a, s.b ¦ write ~/public.a, write ~/s.b
postgres ¦ TRUNCATE a CASCADE ¦ write ~/public.a, admin ~
postgres ¦ BEGIN; UPDATE a SET x = 1; COMMIT ¦ write ~/public.a
postgres ¦ EXPLAIN (ANALYZE, VERBOSE) DELETE FROM a ¦ write ~/public.a
sqlite ¦ REPLACE INTO a VALUES (1) ¦ write ~/main.a
sqlite ¦ INSERT OR IGNORE INTO a SELECT * FROM b RETURNING * ¦ read ~/main.a, write ~/main.a, read ~/main.b
sqlite ¦ UPDATE OR REPLACE a SET x = 1 FROM b ¦ read ~/main.a, write ~/main.a, read ~/main.b
sqlite ¦ DELETE FROM a INDEXED BY i WHERE x = 1 ¦ read ~/main.a, write ~/main.a
sqlite ¦ INSERT INTO 'a' VALUES (?1, :x, @y, $z) ¦ write ~/main.a
mysql ¦ UPDATE a JOIN b ON a.i = b.i SET b.x = 1 ¦ read ~/app.a, write ~/app.a, read ~/app.b, write ~/app.b
mysql ¦ DELETE p FROM a AS p JOIN b ON p.i = b.i ¦ read ~/app.a, write ~/app.a, read ~/app.b
mysql ¦ DELETE FROM a, b USING a JOIN b JOIN c ¦ read ~/app.a, write ~/app.a, read ~/app.b, write ~/app.b, read ~/app.c, write ~/app.c
mysql ¦ INSERT IGNORE INTO a SET x = 1 ON DUPLICATE KEY UPDATE x = (SELECT y FROM b) ¦ read ~/app.a, write ~/app.a, read ~/app.b
mysql ¦ REPLACE LOW_PRIORITY INTO a TABLE b ¦ write ~/app.a, read ~/app.b
tsql ¦ UPDATE p SET p.x = 1 FROM a AS p JOIN b ON p.i = b.i ¦ read ~/dbo.a, write ~/dbo.a, read ~/dbo.b
tsql ¦ DELETE p FROM a p WHERE p.x = 1 ¦ read ~/dbo.a, write ~/dbo.a
tsql ¦ DELETE TOP (5) FROM a ¦ write ~/dbo.a
tsql ¦ MERGE a USING b ON a.i = b.i WHEN MATCHED THEN UPDATE SET x = 1 ¦ read ~/dbo.a, write ~/dbo.a, read ~/dbo.b
tsql ¦ SET NOCOUNT ON; INSERT a (x) VALUES (1) ¦ write ~/dbo.a
""")  # noqa: E501
DEFINITIONS = table("""
* ¦ DROP TABLE s.a ¦ ddl ~/s.a
* ¦ CREATE TABLE s.a (x INT, y VARCHAR(10) NOT NULL, PRIMARY KEY (x)) ¦ ddl ~/s.a
* ¦ CREATE TABLE s.a (x INT REFERENCES s.b (y)) ¦ ddl ~/s.a, read ~/s.b
* ¦ CREATE VIEW s.v AS SELECT * FROM s.a JOIN s.b ON 1 = 1 ¦ ddl ~/s.v, read ~/s.a, read ~/s.b
* ¦ CREATE INDEX i ON s.a (x, y) ¦ ddl ~/s.a
* ¦ ALTER TABLE s.a ADD y INT ¦ ddl ~/s.a
postgres sqlite mysql ¦ CREATE TABLE s.a AS SELECT * FROM s.b ¦ ddl ~/s.a, write ~/s.a, read ~/s.b
postgres tsql ¦ SELECT * INTO s.a FROM s.b ¦ ddl ~/s.a, write ~/s.a, read ~/s.b
postgres mysql tsql ¦ DROP TABLE s.a, s.b ¦ ddl ~/s.a, ddl ~/s.b
postgres ¦ DROP TABLE IF EXISTS a CASCADE ¦ ddl ~/public.a, admin ~
postgres ¦ CREATE TABLE a (LIKE b) INHERITS (c) ¦ ddl ~/public.a, read ~/public.b, ddl ~/public.c
postgres ¦ CREATE TABLE a PARTITION OF b FOR VALUES IN (1) ¦ ddl ~/public.a, ddl ~/public.b
postgres ¦ CREATE TABLE a AS TABLE secret ¦ ddl ~/public.a, write ~/public.a, read ~/public.secret
postgres ¦ ALTER TABLE s.a RENAME TO b ¦ ddl ~/s.a, ddl ~/s.b
postgres ¦ ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES b (y), DROP COLUMN z CASCADE ¦ ddl ~/public.a, read ~/public.b, admin ~
postgres ¦ COMMENT ON TABLE a IS 'x' ¦ ddl ~/public.a
postgres ¦ CREATE SCHEMA x ¦ admin ~
postgres ¦ DROP SCHEMA x CASCADE ¦ admin ~
sqlite ¦ CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT, CHECK (x > 0)) WITHOUT ROWID, STRICT ¦ ddl ~/main.a
mysql ¦ RENAME TABLE a TO b, s.c TO s.d ¦ ddl ~/app.a, ddl ~/app.b, ddl ~/s.c, ddl ~/s.d
mysql ¦ CREATE TABLE a LIKE b ¦ ddl ~/app.a, read ~/app.b
mysql ¦ CREATE TABLE a (x INT AUTO_INCREMENT, KEY k (x)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 ¦ ddl ~/app.a
tsql ¦ CREATE TABLE a (x INT IDENTITY(1,1) PRIMARY KEY, y NVARCHAR(MAX) NULL) ¦ ddl ~/dbo.a
tsql ¦ DROP INDEX i ON a ¦ ddl ~/dbo.i, ddl ~/dbo.a
""")  # noqa: E501
BEYOND = table("""
postgres mysql ¦ GRANT SELECT ON a TO bob ¦ admin ~
postgres mysql ¦ REVOKE ALL ON a FROM bob ¦ admin ~
postgres ¦ COPY a (x, y) FROM STDIN WITH (FORMAT csv, HEADER) ¦ write ~/public.a
postgres ¦ COPY (SELECT * FROM a JOIN b USING (i)) TO STDOUT ¦ read ~/public.a, read ~/public.b
postgres ¦ COPY (DELETE FROM a RETURNING *) TO STDOUT ¦ read ~/public.a, write ~/public.a
postgres ¦ COPY a TO '/srv/out.csv' CSV ¦ read ~/public.a, admin ~, write file:///srv/out.csv
postgres ¦ COPY a FROM '/srv/in.csv' ¦ write ~/public.a, admin ~, read file:///srv/in.csv
postgres ¦ COPY a FROM PROGRAM 'curl https://example.com' ¦ write ~/public.a, admin ~
postgres ¦ COPY a TO PROGRAM 'sh' ¦ read ~/public.a, admin ~
postgres ¦ SELECT pg_read_file('/etc/passwd') ¦ admin ~, read file:///etc/passwd
postgres ¦ SELECT * FROM a CROSS JOIN LATERAL pg_ls_dir('/etc') f ¦ read ~/public.a, admin ~, read file:///etc
postgres ¦ SELECT lo_import('/etc/passwd') ¦ admin ~, read file:///etc/passwd
postgres ¦ SELECT pg_sleep(10), pg_terminate_backend(1), nextval('s') FROM a ¦ read ~/public.a, admin ~
postgres ¦ VACUUM FULL a ¦ admin ~
postgres ¦ SHOW server_version ¦ read ~
postgres ¦ SET statement_timeout = 500 ¦ admin ~
sqlite ¦ ATTACH DATABASE '/srv/x.db' AS x ¦ admin ~, read file:///srv/x.db, write file:///srv/x.db
sqlite ¦ ATTACH ':memory:' AS x ¦ admin ~
sqlite ¦ DETACH x ¦ admin ~
sqlite ¦ PRAGMA table_info(a) ¦ read ~/main.a
sqlite ¦ PRAGMA s.foreign_key_list('a') ¦ read ~/s.a
sqlite ¦ PRAGMA user_version ¦ read ~
sqlite ¦ PRAGMA user_version = 5 ¦ admin ~
sqlite ¦ PRAGMA writable_schema(1) ¦ admin ~
sqlite ¦ VACUUM INTO '/srv/x.db' ¦ admin ~, write file:///srv/x.db
sqlite ¦ VACUUM main ¦ admin ~
sqlite ¦ SELECT load_extension('/srv/x.so') ¦ admin ~, read file:///srv/x.so
sqlite ¦ SELECT writefile('/srv/x', data) FROM a, fsdir('/etc') ¦ read ~/main.a, admin ~, write file:///srv/x, read file:///etc
mysql ¦ SELECT LOAD_FILE('/etc/passwd') FROM a ¦ read ~/app.a, admin ~, read file:///etc/passwd
mysql ¦ SELECT SLEEP(5), BENCHMARK(1, 2) ¦ admin ~
mysql ¦ SHOW CREATE TABLE a ¦ read ~/app.a
mysql ¦ DESCRIBE s.a ¦ read ~/s.a
mysql ¦ FLUSH TABLES ¦ admin ~
""")


@pytest.mark.parametrize(("dialect", "text", "expected"), QUERIES)
def test_a_query_reads_every_table_that_it_names(dialect: str, text: str, expected: list[str]) -> None:
    """Joins, derived tables, set operations, expressions: a table is read wherever it stands."""
    assert touched(dialect, text) == expected


@pytest.mark.parametrize(("dialect", "text", "expected"), CHANGES)
def test_a_change_writes_its_table_and_reads_where_it_looks(dialect: str, text: str, expected: list[str]) -> None:
    """Rows that a WHERE, a RETURNING or a source looks at are read; the target is written."""
    assert touched(dialect, text) == expected


@pytest.mark.parametrize(("dialect", "text", "expected"), DEFINITIONS)
def test_a_definition_is_ddl_of_what_it_defines(dialect: str, text: str, expected: list[str]) -> None:
    """What it copies from is read, and what it takes along unnamed is admin."""
    assert touched(dialect, text) == expected


@pytest.mark.parametrize(("dialect", "text", "expected"), BEYOND)
def test_what_reaches_beyond_tables_is_admin_and_names_its_file(dialect: str, text: str, expected: list[str]) -> None:
    """Files, programs, other sessions, settings and maintenance."""
    assert touched(dialect, text) == expected


def test_the_table_is_as_long_as_promised() -> None:
    """At least 120 statements with their expected accesses."""
    assert len(QUERIES) + len(CHANGES) + len(DEFINITIONS) + len(BEYOND) >= 120


def test_names_are_folded_as_each_server_folds_them() -> None:
    """PostgreSQL folds what is unquoted, SQLite everything, SQL Server by default too."""
    names = 'SELECT * FROM Payments, "Payments"'
    assert touched("postgres", names) == ["read ~/public.Payments", "read ~/public.payments"]
    assert touched("sqlite", names) == ["read ~/main.payments"]
    assert touched("tsql", names) == ["read ~/dbo.payments"]
    sensitive = SqlReader("tsql", case="sensitive").accesses(BASE, names)
    assert [str(each) for each in sensitive] == [f"read {BASE}/dbo.Payments"]


def test_where_letter_case_depends_on_the_server_the_entry_has_to_say() -> None:
    """MySQL compares names as its configuration says, so upper case is refused until the entry does too."""
    assert "case: sensitive or case: insensitive" in refused("mysql", "SELECT * FROM Payments")
    for case, expected in (("sensitive", "Payments"), ("insensitive", "payments")):
        reader = SqlReader("mysql", schema="app", case=case)  # type: ignore[arg-type]
        assert str(reader.accesses(BASE, "SELECT * FROM Payments")[0]) == f"read {BASE}/app.{expected}"


def test_a_name_without_a_schema_is_looked_for_in_the_entrys() -> None:
    """Without one, MySQL's are refused, for nobody knows the database."""
    assert str(SqlReader("postgres", schema="shop").accesses(BASE, "TABLE a")[0]) == f"read {BASE}/shop.a"
    with pytest.raises(NotCanonical, match="has no schema"):
        SqlReader("mysql").accesses(BASE, "SELECT * FROM a")


def test_functions_of_ones_own_are_reads_only_where_the_entry_says_so() -> None:
    """Those that are known to reach further stay what they are."""
    text = "SELECT app.total(x), mine(y), upper(z) FROM a"
    assert "the function" in refused("postgres", text)
    reader = SqlReader("postgres", any_function=True)
    assert [str(each) for each in reader.accesses(BASE, text)] == [f"read {BASE}/public.a"]
    assert f"admin {BASE}" in [str(each) for each in reader.accesses(BASE, "SELECT pg_sleep(1)")]
    for text in ("SELECT dblink('x', 'y')", "SELECT query_to_xml('x', true, true, '')", "SELECT x.pg_read_file('y')",
                 "SELECT set_config('a', 'b', false)"):  # fmt: skip
        with pytest.raises(NotCanonical):
            reader.accesses(BASE, text)
