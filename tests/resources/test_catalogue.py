"""Loading catalogues: strict, merged, refused with file and line, pinned by digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remit.errors import GrantError, NotCanonical
from remit.resources.catalogue import Catalogue

CRM = """\
tools:
  crm.read_ticket: {accesses: ["read crm://tickets/{id}"], read_only: true, idempotent: true}
  crm.comment:
    accesses:
      - write crm://tickets/{id}
    secret: [token]
    labels: [customer-data]
"""


SQL = {"accesses": ["{q}"], "kinds": {"q": "sql"}, "dialect": "sqlite", "base": "db://x"}


def problems(*sources: Any) -> tuple[str, ...]:
    """Everything that a refused catalogue is refused for."""
    with pytest.raises(GrantError) as error:
        Catalogue.load(*sources)
    return error.value.problems


def refuse(entry: Any) -> str:
    """The one problem of a catalogue with one entry."""
    (only,) = problems({"tools": {"a.b": entry}})
    return only


def test_an_entry_says_what_its_tool_touches(tmp_path: Path) -> None:
    """Every word of an entry comes out, with defaults for what it leaves unsaid."""
    path = tmp_path / "crm.yaml"
    path.write_text(CRM)
    catalogue = Catalogue.load(path)
    read, comment = catalogue.entry("crm.read_ticket"), catalogue.entry("crm.comment")
    assert read is not None
    assert comment is not None
    assert (read.yields_accesses, read.read_only, read.idempotent) == (True, True, True)
    assert read.covered == read.arguments == {"id"}
    assert (comment.secret, comment.labels, comment.read_only) == ({"token"}, ("customer-data",), False)
    assert comment.action_words == ("write",)
    assert read.describe() == "read crm://tickets/{id} (read-only, idempotent)"
    assert catalogue.entry("crm.other") is None
    assert catalogue.keys() == ("crm.comment", "crm.read_ticket")


def test_a_field_of_an_argument_does_not_cover_the_argument() -> None:
    """Only a value that stands whole in the URI is bounded by `resources`."""
    entry = Catalogue.load(
        {"tools": {"gh.push": {"accesses": ["write gh://{repo}/{files*.path}"], "kinds": {"files.path": "path"}}}}
    ).entry("gh.push")
    assert entry is not None
    assert entry.covered == {"repo"}
    assert entry.arguments == {"repo", "files"}


def test_an_entry_may_stand_for_every_tool_of_a_server_and_a_bare_key_is_local() -> None:
    """`crm.*` reaches `crm.anything`, and `now` is `local.now`."""
    catalogue = Catalogue.load({"tools": {"crm.*": {"read_only": True}, "now": {"idempotent": True}}})
    assert catalogue.entry("crm.anything.at.all") is not None
    assert catalogue.entry("crmx.y") is None
    local = catalogue.entry("local.now")
    assert local is not None
    assert local.key == "local.now"
    assert not local.yields_accesses
    assert local.resolve({}) == ()


def test_the_empty_catalogue_knows_nothing() -> None:
    """No source at all is a catalogue too."""
    assert Catalogue.load().entry("crm.read_ticket") is None
    assert Catalogue.load().source == b'{"tools":{}}'


def test_the_digest_is_of_content_and_the_stored_source_loads_again(tmp_path: Path) -> None:
    """Layout, order, file and spelled-out defaults do not matter; a changed word does."""
    path = tmp_path / "crm.yaml"
    path.write_text(CRM)
    catalogue = Catalogue.load(str(path))
    again = Catalogue.load(json.loads(catalogue.source))
    tools = json.loads(catalogue.source)["tools"]
    tools["crm.comment"]["read_only"] = False
    parts = [{"tools": {key: value}} for key, value in sorted(tools.items(), reverse=True)]
    assert catalogue.digest == again.digest == Catalogue.load(*parts).digest == Catalogue.load(tmp_path).digest
    tools["crm.comment"]["idempotent"] = True
    assert Catalogue.load({"tools": tools}).digest != catalogue.digest


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("crm.x", "crm.x"),
        ("crm.x", "crm.*"),
        ("crm.*", "crm.x"),
        ("crm.*", "crm.*"),
        ("x", "local.x"),
        ("local.*", "x"),
    ],
)
def test_two_entries_that_reach_one_tool_are_refused(first: str, second: str) -> None:
    """Neither order of files nor exactness picks a winner."""
    found = problems({"tools": {first: {}}}, {"tools": {second: {}}})
    assert len(found) == 1
    assert "reach the same tool" in found[0]
    assert "catalogue 2" in found[0]
    assert "catalogue 1" in found[0]


def test_every_problem_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    """One reading finds them all."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        "tools:\n  a.b:\n    acesses: []\n  A.c: {}\n  a.d:\n    accesses:\n"
        "      - read x://{p}\n      - read {q}\n  a.e: 5\n"
    )
    found = problems(path)
    assert [text.split(": ")[0] for text in found] == [f"{path}, line {line}" for line in (3, 4, 8, 9)]
    assert "did you mean accesses?" in found[0]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (None, "an entry is null, expected a mapping"),
        ([], "an entry is a list, expected a mapping"),
        ({"accesses": []}, "at least 1 item"),
        ({"accesses": "read x://y"}, "valid list, got a string"),
        ({"read_only": "yes"}, "valid boolean, got a string"),
        ({"secret": "token"}, "valid list, got a string"),
        ({"accesses": ["read db://{q}"], "kinds": {"q": "sql"}}, "q} is sql text and says itself what is done"),
        ({"accesses": ["run sh://{c}"], "kinds": {"c": "shell"}}, "c} is shell text and says itself what is done"),
        ({"accesses": ["{q}"]}, "expected kinds: {q: sql} or shell"),
        ({"accesses": ["{q}"], "kinds": {"q": "path"}}, "expected kinds: {q: sql} or shell"),
        ({"accesses": ["{q}"], "kinds": {"q": "sql"}, "base": "db://x"}, "expected dialect: postgres"),
        ({"accesses": ["{q}"], "kinds": {"q": "sql"}, "dialect": "sqlite"}, "expected base: in the entry"),
        ({"accesses": ["{q}"], "kinds": {"q": "sql"}, "dialect": "oracle", "base": "db://x"}, "dialect"),
        ({**SQL, "base": "/srv/x.db"}, "not a URI template"),
        ({**SQL, "case": "sensitive"}, "no case:"),
        ({**SQL, "schema": "a.b"}, "has a dot"),
        ({**SQL, "programs": ["a"]}, "kind shell"),
        ({"accesses": ["read x://{a}"], "dialect": "sqlite"}, "no argument is of kind sql"),
        ({"accesses": ["read x://{a}"], "functions": "any"}, "no argument is of kind sql"),
        ({"accesses": ["read x://{a}"], "schema": "public"}, "no argument is of kind sql"),
        ({"accesses": ["{c}"], "kinds": {"c": "shell"}, "programs": []}, "programs is empty"),
        ({"accesses": ["{c}"], "kinds": {"c": "shell"}, "base": "srv"}, "srv' is not an absolute path"),
        ({"accesses": ["{c}"], "kinds": {"c": "shell"}, "symlinks": "follow"}, "no access starts with a path"),
        ({"accesses": ["{m} {u}"], "kinds": {"u": "url"}}, "actions: {m: {GET: read"),
        ({"accesses": ["{m?} {u}"], "kinds": {"u": "url"}, "actions": {"m": {"GET": "read"}}}, "expected it required"),
        ({"accesses": ["{m} {u}"], "kinds": {"u": "url"}, "actions": {"m": {"GET": "Read it"}}}, "not an action word"),
        ({"accesses": ["read {u}"], "kinds": {"u": "url"}, "actions": {"u": {"GET": "read"}}}, "starts with {u}"),
        ({"accesses": ["read https://h.com/{u}"], "kinds": {"u": "url"}}, "has to be the whole of it"),
        ({"accesses": ["read https://H.com{u}"], "kinds": {"u": "url"}}, "not a name in canonical form"),
        ({"accesses": ["read db://{q}"], "kinds": {"q": "uri"}}, "'uri' of q is unknown; the kinds are path"),
        ({"accesses": ["read x://{a}"], "kinds": {"b": "path"}}, "no access names {b}"),
        ({"accesses": ["read x://{a}"], "secret": ["a"]}, "a is secret and also names a resource"),
        ({"accesses": ["read x://{a}"], "redact": ["a"]}, "a is redact and also names a resource"),
        ({"accesses": ["read x://{a}"], "base": "/srv"}, "no access starts with a path"),
        ({"accesses": ["read s3://b/{k*}"], "kinds": {"k": "path"}, "base": "/srv"}, "no access starts with a path"),
        ({"accesses": ["read x://{a}"], "symlinks": "follow"}, "no access starts with a path"),
        ({"accesses": ["read file://{a}"], "kinds": {"a": "path"}, "base": "srv"}, "the base is refused"),
        ({"accesses": ["read file://{a}"], "kinds": {"a": "path"}, "symlinks": "ignore"}, "symlinks"),
        ({"accesses": ["x"]}, "expected an action word and a URI template"),
        ({"accesses": ["read x"]}, "is not a URI template"),
        ({"accesses": ["read x://{a}{b}"]}, "two placeholders between slashes"),
        ({"accesses": ["read x://{a}.{b}"]}, "two placeholders between slashes"),
        ({"accesses": ["read x://{a*}/{b*}"]}, "two placeholders are lists"),
        ({"accesses": ["read x://{a?}/{b}"]}, "optional ones at the end only"),
        ({"accesses": ["read x://{a?}/b"]}, "optional ones at the end only"),
        ({"accesses": ["read x://a/*"]}, "neither text nor a placeholder"),
        ({"accesses": ["read x://{a"]}, "neither text nor a placeholder"),
        ({"accesses": ["read x://{a/b}"]}, "neither text nor a placeholder"),
        ({"accesses": ["read x://a//{b}"]}, "empty segment"),
        ({"accesses": ["read x://a?b={c}"]}, "no query or fragment"),
        ({"accesses": ["read x://../{c}"]}, "means a directory"),
        ({"accesses": ["read {u}"]}, "kinds: {u: url}"),
        ({"accesses": ["read x://{u}"], "kinds": {"u": "url"}}, "has to be the whole of it"),
        ({"accesses": ["read https://{h}/x"]}, "the host of a web URL is a placeholder"),
        ({"accesses": ["read file://{p}"]}, "kinds: {p: path}"),
        ({"accesses": ["read x://a/{p}"], "kinds": {"p": "path"}}, "expected {p*} at the end"),
        ({"accesses": ["read x://a{p}"], "kinds": {"p": "path"}}, "text touches the path"),
        ({"accesses": ["send mailto:{a}"]}, "kinds: {a: email}"),
        ({"accesses": ["send mailto:{a}{b}"]}, "more than one placeholder"),
        ({"accesses": ["send mailto:bob@acme.com"]}, "one fixed address"),
        ({"accesses": ["read x://" + "/".join(f"{{a{n}}}" for n in range(9))]}, "at most 8"),
    ],
)  # fmt: skip
def test_an_entry_that_could_be_misread_is_refused(entry: Any, says: str) -> None:
    """Unknown words, kinds and ambiguous templates never load."""
    assert says in refuse(entry)


@pytest.mark.parametrize("key", ["A.b", "crm.", ".x", "crm.a b", "crm.a*", "*", "crm x", "", "crm.\u00e9"])
def test_a_key_that_is_no_tools_key_is_refused(key: str) -> None:
    """Keys match byte for byte, so what could not be one is refused."""
    (found,) = problems({"tools": {key: {}}})
    assert "is not a tool key" in found


@pytest.mark.parametrize(
    "source", [{}, {"tools": {}}, {"tools": None}, {"tools": []}, {"tool": {}}, {"tools": {"a.b": {}}, "x": 1}]
)
def test_a_source_without_tools_or_with_other_words_is_refused(source: Any) -> None:
    """Empty means a mistake, not a catalogue."""
    assert problems(source)


def test_a_source_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file, an empty directory and bytes that are not UTF-8 are each one sentence."""
    (tmp_path / "latin.yaml").write_bytes(b"tools: \xe9")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GrantError, match="cannot be read"):
        Catalogue.load(tmp_path / "none.yaml")
    with pytest.raises(GrantError, match="not UTF-8"):
        Catalogue.load(tmp_path / "latin.yaml")
    with pytest.raises(GrantError, match="has no catalogue"):
        Catalogue.load(tmp_path / "empty")
    with pytest.raises(GrantError, match="a path or a mapping; got an integer"):
        Catalogue.load(5)  # type: ignore[arg-type]


def resolved(entry: dict[str, Any], **arguments: Any) -> list[str]:
    """The accesses of one call under one entry."""
    found = Catalogue.load({"tools": {"a.b": entry}}).entry("a.b")
    assert found is not None
    return [str(access) for access in found.resolve(arguments)]


def test_a_text_of_sql_is_read_where_the_entry_says_how() -> None:
    """Dialect, database, schema and functions are the entry's; the database may be an argument."""
    entry = {"accesses": ["{sql}"], "kinds": {"sql": "sql"}, "dialect": "postgres", "base": "postgres://{host}/shop",
             "schema": "sales", "functions": "any"}  # fmt: skip
    found = Catalogue.load({"tools": {"db.query": entry}})
    known = found.entry("db.query")
    assert known is not None
    assert [str(each) for each in known.resolve({"host": "prod", "sql": "SELECT mine(x) FROM orders"})] == [
        "read postgres://prod/shop/sales.orders"
    ]
    assert known.action_words == ("read", "write", "ddl", "admin")
    assert (known.covered, known.arguments) == ({"host"}, {"host", "sql"})
    assert known.describe() == "what {sql} says"
    assert Catalogue.load(json.loads(found.source)).digest == found.digest
    with pytest.raises(NotCanonical, match="could not be read as postgres"):
        known.resolve({"host": "prod", "sql": "SELECT FROM FROM"})
    with pytest.raises(NotCanonical, match="got an integer, expected a string"):
        known.resolve({"host": "prod", "sql": 5})
    with pytest.raises(NotCanonical, match="the argument sql is missing"):
        known.resolve({"host": "prod"})


def test_a_shell_command_is_read_alone_or_as_a_list() -> None:
    """`{commands*}` takes one text or several; `programs` may run whatever their arguments."""
    entry = {"accesses": ["{commands*}"], "kinds": {"commands": "shell"}, "base": "/srv", "programs": ["make"]}
    assert resolved(entry, commands="make > x") == ["write file:///srv/x", "run program://make"]
    assert resolved(entry, commands=["true", "rm x"]) == [
        "run program://true",
        "run program://rm",
        "write file:///srv/x",
    ]


def test_an_action_may_come_from_an_argument() -> None:
    """Exactly the values that the entry translates; any other is refused, in other letter case too."""
    entry = {
        "accesses": ["{method} {url}"],
        "kinds": {"url": "url"},
        "actions": {"method": {"GET": "read", "POST": "send"}},
    }
    assert resolved(entry, method="POST", url="https://api.acme.com/a?b") == ["send https://api.acme.com/a?b"]
    for method in ("post", "PUT", "", None, 5, ["GET"]):
        with pytest.raises(NotCanonical, match="expected one of GET, POST"):
            resolved(entry, method=method, url="https://api.acme.com/")
    found = Catalogue.load({"tools": {"a.b": entry}}).entry("a.b")
    assert found is not None
    assert found.covered == {"method", "url"}
    assert found.action_words == ("read", "send")


def test_a_path_below_a_fixed_host_stays_below_it() -> None:
    """`https://host{path}` of kind url: a path with its query, never another host."""
    entry = {
        "accesses": ["{method} https://api.acme.com/v1{path}"],
        "kinds": {"path": "url"},
        "actions": {"method": {"GET": "read"}},
    }
    assert resolved(entry, method="GET", path="/users/7?x=1") == ["read https://api.acme.com/v1/users/7?x=1"]
    for path in (
        "users",
        "",
        "@evil.com/",
        ".evil.com/",
        "//evil.com",
        "/../admin",
        "/%2e%2e/x",
        "/a#b",
        "/a b",
        ":80/",
    ):
        with pytest.raises(NotCanonical):
            resolved(entry, method="GET", path=path)
