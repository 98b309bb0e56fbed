"""Hostile SQL: what hides a table, a statement or a side effect is reported or refused, never missed."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import NotCanonical
from remit.resources.sql import SqlReader
from remit.resources.sql_lexer import RULES, Token, rebuilt, statements, tokens
from tests.resources.test_sql import BASE, BEYOND, CHANGES, DEFINITIONS, QUERIES, READERS, refused, table, touched

COMMENTS = table("""
* ¦ SELECT/**/x/* ; DROP TABLE s.b; */FROM/**/s.a -- , s.b ¦ read ~/s.a
* ¦ SELECT '/*' FROM s.a UNION SELECT '*/' FROM s.b ¦ read ~/s.a, read ~/s.b
* ¦ SELECT '-- ' FROM s.a, s.b ¦ read ~/s.a, read ~/s.b
* ¦ SELECT 'x;' FROM s.a; DELETE FROM s.b ¦ read ~/s.a, write ~/s.b
postgres sqlite tsql ¦ SELECT 1 --1 FROM s.a ¦ read ~
sqlite ¦ SELECT '\\' FROM a, b -- ' ¦ read ~/main.a, read ~/main.b
tsql ¦ SELECT '\\' FROM a, b -- ' ¦ read ~/dbo.a, read ~/dbo.b
mysql ¦ SELECT 'x' # FROM secret ¦ read ~
""")
QUOTING = table(r'''
postgres ¦ SELECT $$ ' $$, $a$ $$ ; $b$ $a$ FROM a, b -- $a$ ¦ read ~/public.a, read ~/public.b
postgres ¦ SELECT E'\'' , x FROM a -- ' ¦ read ~/public.a
postgres ¦ SELECT E'\\' , x FROM a -- ' ¦ read ~/public.a
postgres ¦ SELECT "from secret" FROM "a.b".c ¦ !
postgres ¦ SELECT * FROM "A" WHERE x = 'it''s' ¦ read ~/public.A
sqlite ¦ SELECT "a" FROM "b" WHERE 'c' = [d] ¦ read ~/main.b
sqlite ¦ SELECT 1 FROM a WHERE [x]]] = 1 ¦ !
tsql ¦ SELECT [a]] FROM secret --] FROM b ¦ !
mysql ¦ SELECT "a" FROM `b` WHERE c = "say ""x""" ¦ read ~/app.b
mysql ¦ SELECT 'a' 'b' FROM t ¦ read ~/app.t
''')
SHADOWS = table("""
* ¦ SELECT * FROM s.a AS secret, s.secret ¦ read ~/s.a, read ~/s.secret
postgres ¦ WITH x AS (SELECT * FROM y), y AS (SELECT 1) SELECT * FROM x ¦ read ~/public.y
postgres ¦ WITH x AS (SELECT * FROM x) SELECT * FROM x ¦ read ~/public.x
postgres ¦ WITH x AS (SELECT 1) SELECT * FROM public.x ¦ read ~/public.x
postgres ¦ WITH "X" AS (SELECT 1) SELECT * FROM x ¦ read ~/public.x
postgres ¦ SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) q, x ¦ read ~/public.x
postgres ¦ (WITH x AS (SELECT 1) SELECT * FROM x) UNION SELECT * FROM x ¦ read ~/public.x
postgres ¦ WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM a, b ¦ read ~/public.b
postgres ¦ WITH t AS (SELECT 1) DELETE FROM t ¦ write ~/public.t
mysql ¦ WITH x AS (SELECT * FROM x) SELECT * FROM x ¦ read ~/app.x
tsql ¦ WITH c AS (SELECT * FROM t) DELETE FROM c ¦ !
tsql ¦ UPDATE x SET a = 1 FROM (SELECT * FROM t) x ¦ !
mysql ¦ delete low_priority quick from t ¦ write ~/app.t
mysql ¦ update low_priority ignore t set x = 1 ¦ write ~/app.t
mysql ¦ update only t set x = 1 ¦ !
mysql ¦ truncate table low_priority ¦ !
mysql ¦ delete a from t AS A ¦ !
mysql ¦ delete z from t AS a ¦ !
tsql ¦ UPDATE a SET x = 1 FROM secret AS a ¦ read ~/dbo.secret, write ~/dbo.secret
mysql ¦ DELETE a FROM secret AS a ¦ read ~/app.secret, write ~/app.secret
""")
HIDDEN_TABLES = table("""
sqlite ¦ SELECT 1 IN secret ¦ !
sqlite ¦ SELECT 1 NOT IN main.secret ¦ !
sqlite ¦ SELECT * FROM 'secret' ¦ read ~/main.secret
postgres ¦ SELECT EXISTS (TABLE secret), 1 IN (TABLE b), ARRAY(TABLE c) ¦ read ~/public.secret, read ~/public.b, read ~/public.c
postgres ¦ SELECT * FROM ((secret JOIN b USING (x)) JOIN (c) USING (y)) ¦ read ~/public.secret, read ~/public.b, read ~/public.c
postgres ¦ INSERT INTO a VALUES (1) RETURNING (SELECT x FROM secret) ¦ read ~/public.a, write ~/public.a, read ~/public.secret
postgres ¦ CREATE TABLE a (x int DEFAULT 1, CHECK (x IN (SELECT y FROM secret))) ¦ ddl ~/public.a, read ~/public.secret
postgres ¦ SELECT 1 FROM a LIMIT (SELECT x FROM secret) OFFSET (SELECT y FROM b) ¦ read ~/public.a, read ~/public.secret, read ~/public.b
tsql ¦ DELETE FROM a OUTPUT deleted.x INTO secret ¦ !
tsql ¦ INSERT INTO a (x) OUTPUT inserted.x INTO secret VALUES (1) ¦ !
tsql ¦ SELECT * FROM srv.db.dbo.t ¦ !
tsql ¦ SELECT * FROM db..t ¦ !
tsql ¦ SELECT * FROM @t ¦ !
tsql ¦ SELECT NEXT VALUE FOR s ¦ !
postgres ¦ SELECT * FROM other.public.t ¦ !
mysql ¦ SELECT x FROM a PROCEDURE ANALYSE() ¦ !
""")  # noqa: E501
STATEMENTS = (
    ("postgres", "DO $$ BEGIN DELETE FROM t; END $$"), ("postgres", "CALL p()"),
    ("postgres", "PREPARE p AS SELECT 1"), ("postgres", "EXECUTE p"), ("postgres", "SET search_path = secret"),
    ("postgres", "SET ROLE admin"), ("postgres", "SET SESSION AUTHORIZATION x"), ("postgres", "RESET ALL"),
    ("postgres", "DISCARD ALL"), ("postgres", "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql"),
    ("postgres", "LISTEN x"), ("postgres", "CREATE EXTENSION dblink"), ("postgres", "ALTER TABLE a OWNER TO b"),
    ("postgres", "LOAD 'x'"), ("postgres", "ALTER TABLE a ATTACH PARTITION b FOR VALUES IN (1)"),
    ("postgres", "CREATE ROLE x SUPERUSER"), ("postgres", "DECLARE c CURSOR FOR SELECT * FROM t"),
    ("postgres", "NOTIFY c, 'x'"), ("postgres", "\\! id"),
    ("postgres", "COPY t FROM STDIN WHERE pg_read_file('x') = ''"), ("postgres", "COPY t TO 'relative'"),
    ("postgres", "CREATE RULE r AS ON SELECT TO t DO INSTEAD SELECT 1"),
    ("postgres", "SELECT 1 OPERATOR(public.+) 2"),
    ("postgres", "CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()"), ("postgres", "EXPLAIN EXECUTE p"),
    ("postgres", "SELECT * FROM f(1) AS t(a int)"), ("postgres", "SELECT * FROM ROWS FROM (f(1)) AS t"),
    ("postgres", 'SELECT "LOWER"(x) FROM t'), ("postgres", "SELECT public.lower(x) FROM t"),
    ("postgres", "SELECT public.lower(x) FILTER (WHERE y) FROM t"), ("postgres", ";"), ("postgres", ""),
    ("postgres", "-- nothing"), ("postgres", "SELECT * FROM"), ("sqlite", "ATTACH 'x.db' AS x"),
    ("sqlite", "ATTACH '/srv/x.db' AS x; SELECT * FROM t"), ("sqlite", ".shell id"),
    ("sqlite", "ATTACH 'file:/srv/x.db?mode=ro' AS x"), ("sqlite", "ATTACH '/srv/../x.db' AS x"),
    ("sqlite", "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM u; END"), ("sqlite", "SELECT edit('x')"),
    ("sqlite", "CREATE VIRTUAL TABLE v USING fts5(a)"),
    ("sqlite", "CREATE VIRTUAL TABLE v USING csv(filename='/x')"), ("sqlite", "SELECT * FROM sqlite_dbpage"),
    ("sqlite", "SELECT * FROM fsdir"), ("sqlite", "SELECT readfile(x)"),
    ("sqlite", "SELECT * FROM pragma_writable_schema"), ("sqlite", "PRAGMA table_info(a); .quit"),
    ("mysql", "SELECT * FROM t INTO OUTFILE '/x'"), ("mysql", "SELECT 1 INTO DUMPFILE '/x'"), ("mysql", "USE other"),
    ("mysql", "LOAD DATA INFILE '/x' INTO TABLE t"), ("mysql", "HANDLER t OPEN"), ("mysql", "DO SLEEP(1)"),
    ("mysql", "SET sql_mode = 'ANSI_QUOTES'"), ("mysql", "SET GLOBAL local_infile = 1"), ("mysql", "SHOW GRANTS"),
    ("mysql", "CREATE TABLE t (a int) ENGINE=FEDERATED CONNECTION='mysql://h/d/t'"), ("mysql", "CALL p()"),
    ("mysql", "CREATE TABLE t (a int) DATA DIRECTORY='/x'"), ("mysql", "ANALYZE DELETE FROM t"), ("mysql", "\\! id"),
    ("mysql", "SELECT a INTO @x FROM t"), ("mysql", "PREPARE s FROM 'DROP TABLE t'"), ("mysql", "SELECT {fn NOW()}"),
    ("tsql", "EXEC xp_cmdshell 'dir'"), ("tsql", "xp_cmdshell 'dir'"), ("tsql", "EXECUTE ('DROP TABLE t')"),
    ("tsql", "SELECT 1 EXEC p"), ("tsql", "SELECT 1 SHUTDOWN"), ("tsql", "DELETE FROM t SHUTDOWN"),
    ("tsql", "USE x"), ("tsql", "SELECT * FROM t RECONFIGURE"), ("tsql", "SELECT 1 DROP TABLE t"),
    ("tsql", "IF 1 = 1 DROP TABLE t"), ("tsql", "BEGIN DROP TABLE t END"), ("tsql", "BEGIN TRAN DROP TABLE t"),
    ("tsql", "COMMIT DROP TABLE t"), ("tsql", "INSERT INTO t VALUES (1) DELETE FROM u"),
    ("tsql", "INSERT INTO t EXEC p"), ("tsql", "start x"), ("tsql", "SELECT * FROM OPENROWSET('x', 'y', 'z')"),
    ("tsql", "SELECT * FROM OPENQUERY(l, 'x')"), ("tsql", "BULK INSERT t FROM '/x'"),
    ("tsql", "GRANT SELECT ON t TO x DROP TABLE u"), ("tsql", "DBCC CHECKDB"),
    ("tsql", "SET NOCOUNT ON DROP TABLE t"), ("tsql", "DECLARE @x INT = 5"), ("tsql", "SELECT dbo.f(1)"),
    ("tsql", "SELECT 1\nGO\nDROP TABLE t"), ("tsql", "DELETE TOP (f(1)) FROM t"), ("tsql", "PRINT 'x'"),
)  # fmt: skip
SPLITS = (
    ("postgres", 'SELECT U&"d\\0061ta" FROM t'), ("postgres", "SELECT U&'x' FROM t"),
    ("postgres", "SELECT 'a\\' FROM t"), ("postgres", "SELECT /* /* */ 1 FROM secret -- */"),
    ("postgres", "SELECT 1 /* open"), ("postgres", "SELECT 'open"), ("postgres", "SELECT $a$ open $b$"),
    ("postgres", "SELECT a\u00a0FROM secret"), ("postgres", "SELECT a\u3000FROM t"),
    ("postgres", "SELECT * FROM a\u200b"), ("postgres", 'SELECT * FROM "a\u200b"'),
    ("postgres", 'SELECT * FROM "e\u0301"'), ("postgres", "SELECT 1\x00 FROM t"),
    ("postgres", "SELECT 1 --\rFROM secret"), ("postgres", "SELECT 1\x0bFROM t"),
    ("postgres", "SELECT * FROM \ud800"), ("postgres", "SELECT 1FROM secret"), ("postgres", "SELECT a.1 FROM t"),
    ("postgres", "SELECT \u017f FROM t"), ("postgres", "SELECT \uff07x\uff07 FROM t"),
    ("postgres", "SELECT a$b FROM t"), ("postgres", "SELECT * FROM " + "a" * 64),
    ("postgres", 'SELECT * FROM "a/b"'), ("postgres", 'SELECT * FROM "a.b"'),
    ("postgres", "SELECT pg_read_file(E'/etc/\\x70asswd')"), ("postgres", "COPY t TO E'/srv/\\x78'"),
    ("mysql", "SELECT /*! 1 FROM secret */ 2"), ("mysql", "SELECT /*!50000 1 FROM secret */ 2"),
    ("mysql", "SELECT /*M! 1 FROM secret */ 2"), ("mysql", "SELECT /*+ SET_VAR(x = 1) */ 2"),
    ("mysql", "SELECT 1--1"), ("mysql", "SELECT 'a\\' FROM secret -- '"), ("mysql", 'SELECT "a\\" FROM secret -- "'),
    ("mysql", "SELECT _utf8'x'"), ("mysql", "SELECT 'a\\\\' FROM t"), ("mysql", "SELECT * FROM `a``b`"),
    ("mysql", "SELECT 1e5x FROM t"), ("sqlite", "SELECT :a(/*) , x FROM secret -- */ )"),
    ("sqlite", "SELECT $a(/*) , x FROM secret -- */ )"), ("sqlite", "SELECT @a::b(/*) , x FROM secret -- */ )"),
    ("sqlite", "SELECT [open"), ("sqlite", "SELECT `open"), ("tsql", "SELECT [open"),
    ("tsql", "SELECT * FROM [p\uff41y]"), ("tsql", "SELECT * FROM [a\u212a]"), ("tsql", "SELECT * FROM [a ]"),
)  # fmt: skip


def judge(dialect: str, text: str, expected: list[str]) -> None:
    """`!` is a refusal."""
    if expected == ["!"]:
        refused(dialect, text)
    else:
        assert touched(dialect, text) == expected


@pytest.mark.requirement("H63")
@pytest.mark.parametrize(("dialect", "text", "expected"), COMMENTS)
def test_comments_hide_nothing(dialect: str, text: str, expected: list[str]) -> None:
    """What stands in a comment is not read, what follows it is."""
    judge(dialect, text, expected)


@pytest.mark.requirement("H64")
@pytest.mark.parametrize(("dialect", "text", "expected"), QUOTING)
def test_strings_and_quoted_names_end_where_the_server_ends_them(dialect: str, text: str, expected: list[str]) -> None:
    """Dollar quotes, escapes, doubled marks, names in every kind of mark."""
    judge(dialect, text, expected)


@pytest.mark.requirement("H65")
@pytest.mark.parametrize(("dialect", "text", "expected"), SHADOWS)
def test_a_name_shadows_a_table_only_where_it_certainly_does(dialect: str, text: str, expected: list[str]) -> None:
    """Aliases never, common table expressions only in their own statement, after their definition."""
    judge(dialect, text, expected)


@pytest.mark.requirement("H66")
@pytest.mark.parametrize(("dialect", "text", "expected"), HIDDEN_TABLES)
def test_a_table_in_an_unusual_place_is_seen(dialect: str, text: str, expected: list[str]) -> None:
    """Or the statement is refused."""
    judge(dialect, text, expected)


@pytest.mark.requirement("H67")
@pytest.mark.parametrize(("dialect", "text"), STATEMENTS)
def test_a_statement_that_does_more_than_it_says_is_refused(dialect: str, text: str) -> None:
    """Code, settings that change what later names mean, files, second statements without a semicolon."""
    assert refused(dialect, text)


@pytest.mark.requirement("H68")
@pytest.mark.parametrize(("dialect", "text"), SPLITS)
def test_a_text_that_servers_split_differently_is_refused(dialect: str, text: str) -> None:
    """Encodings, modes and versions decide where a string, a comment or a name ends."""
    assert refused(dialect, text)


@pytest.mark.requirement("H69")
@pytest.mark.parametrize(
    "text",
    ["SELECT " + "(" * 101 + "1" + ")" * 101, "SELECT " + "NOT " * 5000 + "1", "SELECT 1;" * 101,
     "SELECT 1 " + "+ 1" * 20_000, "SELECT '" + "x" * 100_000 + "'", "SELECT (1", "SELECT 1)",
     "SELECT " + "- " * 3000 + "1", "SELECT " + "CASE WHEN 1 THEN " * 400 + "1" + " END" * 400],
)  # fmt: skip
def test_a_text_that_would_exhaust_the_parser_is_refused(text: str) -> None:
    """Depth, length and number are bounded, and a parser that gives up is a refusal."""
    assert refused("postgres", text)


def test_the_parser_writes_no_text_into_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Arguments may be secrets; the parser's warnings quote them."""
    with caplog.at_level(logging.DEBUG):
        refused("postgres", "CREATE EXTENSION secret_token")
    assert caplog.records == []


SPACE = st.sampled_from([" ", "  ", "\t", "\n", "\r\n", " \n ", "/* x */", " /* ; ' \" */ ", " -- x\n", " -- '\n "])
ROWS = [*QUERIES, *CHANGES, *DEFINITIONS, *BEYOND]


def respelled(words: tuple[Token, ...], spaces: list[str], upper: list[bool]) -> str:
    """The same statement with other white space, comments and letter case of what is not quoted."""
    parts = []
    for at, word in enumerate(words):
        text = word.text
        if word.kind == "word":
            text = text.upper() if upper[at % len(upper)] else text.lower()
        parts.append((spaces[at % len(spaces)] if word.gap else "") + text)
    return "".join(parts)


@pytest.mark.requirement("H70")
@settings(max_examples=300, deadline=None)
@given(
    row=st.sampled_from([row for row in ROWS if "E'" not in row[1]]),
    spaces=st.lists(SPACE, min_size=1, max_size=6),
    upper=st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_white_space_case_and_comments_never_change_the_accesses(
    row: tuple[str, str, list[str]], spaces: list[str], upper: list[bool]
) -> None:
    """Whatever is not a name or a value may be spelled anyhow."""
    dialect, text, expected = row
    words = tokens(text, RULES[dialect])
    again = respelled(words, spaces, upper)
    reader = SqlReader("mysql", schema="app", case="insensitive") if dialect == "mysql" else READERS[dialect]
    assert sorted(str(each).replace(BASE, "~") for each in reader.accesses(BASE, again)) == expected


@settings(max_examples=300, deadline=None)
@given(
    dialect=st.sampled_from(list(RULES)),
    text=st.text(alphabet=st.sampled_from("sSeEuUxX'\"`[]$a;-/*#\\& \n.(),0é@:"), max_size=40),
)
def test_what_the_lexer_rebuilds_reads_as_itself(dialect: str, text: str) -> None:
    """The parser gets tokens that are the same when they are read again."""
    try:
        found = tokens(text, RULES[dialect])
        again = tokens(rebuilt(found), RULES[dialect])
    except NotCanonical:
        return
    assert [(word.kind, word.text) for word in again] == [(word.kind, word.text) for word in found]
    assert len(statements(again)) == len(statements(found))
