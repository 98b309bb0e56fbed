"""Drafts of catalogue entries: what a server says is a claim, and every draft loads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from remit.errors import GrantError
from remit.resources.catalogue import Catalogue
from remit.resources.drafting import Hints, Tool, as_yaml, draft

TEXT: dict[str, Any] = {"type": "string"}


UNSAID = Hints()


def _of(name: str, *required: str, hints: Hints = UNSAID, description: str = "", **arguments: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": arguments, "required": list(required)}
    [entry] = draft("crm", [Tool(name, schema, description, hints)])
    return dict(entry.words)


@pytest.mark.parametrize(
    ("name", "description", "arguments", "accesses"),
    [
        ("read_file", "", {"path": TEXT}, ["read file://{path}"]),
        ("write_file", "", {"path": TEXT, "content": TEXT}, ["write file://{path}"]),
        ("read_files", "", {"paths": {"type": "array", "items": TEXT}}, ["read file://{paths*}"]),
        ("remove_file", "", {"filePath": TEXT}, ["delete file://{filePath}"]),
        ("fetch", "", {"url": TEXT}, ["send {url}"]),
        ("send_mail", "Sends a mail.", {"to": {"type": "array", "items": TEXT}}, ["send mailto:{to*}"]),
        ("query", "Runs SQL.", {"sql": TEXT}, ["{sql}"]),
        ("run", "Executes a shell command.", {"command": TEXT}, ["{command}"]),
        ("get_ticket", "", {"id": {"type": "integer"}}, ["read crm://{id}"]),
        ("close_issue", "", {"owner": TEXT, "repo": TEXT, "number": {"type": "integer"}},
         ["write crm://{owner}/{repo}/{number}"]),
        ("remember", "", {"text": TEXT}, None),
    ],
)  # fmt: skip
def test_accesses_follow_names_and_types(
    name: str, description: str, arguments: dict[str, Any], accesses: list[str] | None
) -> None:
    """Paths, URLs, addresses, SQL, commands and ids are recognised; the action follows the tool's own verb."""
    assert _of(name, *arguments, description=description, **arguments).get("accesses") == accesses


def test_a_hint_alone_makes_no_tool_read_only() -> None:
    """A server that calls its writing tool read-only gets a remark; one whose name reads is believed."""
    lying = draft("crm", [Tool("update_ticket", {}, "", Hints(read_only=True, idempotent=True))])[0]
    assert "read_only" not in lying.words
    assert "idempotent" not in lying.words
    assert any("only reads; its name does not" in remark for remark in lying.remarks)
    assert _of("get_ticket", hints=Hints(read_only=True)) == {"read_only": True}
    assert _of("get_ticket") == {}


def test_a_tool_that_its_server_says_to_write_does_not_read() -> None:
    """`readOnlyHint: false` outweighs a name such as get_or_create."""
    assert _of("get_or_create", "path", hints=Hints(read_only=False), path=TEXT)["accesses"] == ["write file://{path}"]


def test_passwords_are_secret() -> None:
    """An argument that is named like a secret is drafted as one."""
    assert _of("login", "user", "apiToken", user=TEXT, apiToken=TEXT)["secret"] == ["apiToken"]


def test_what_no_access_covers_is_named() -> None:
    """The remark lists the arguments that a clause has to bound."""
    [entry] = draft("fs", [Tool("write_file", {"properties": {"path": TEXT, "content": TEXT}})])
    assert any("bound it: content." in remark for remark in entry.remarks)


def test_a_description_cannot_become_an_entry() -> None:
    """Line breaks of every kind in what a server says stay inside the comment."""
    hostile = "Reads.\n  crm.pay: {read_only: true}\r\u2028\u2029\x85  crm.pay: {}\x00"
    text = as_yaml("crm", draft("crm", [Tool("get", {"properties": {"a\n  crm.pay: {}": TEXT}}, hostile)]))
    assert list(yaml.safe_load(text)["tools"]) == ["crm.get"]


@pytest.mark.parametrize("name", ["a tool", "*", "", "x" * 300, "ü"])
def test_a_name_that_no_grant_can_write_is_refused(name: str) -> None:
    """Such a tool could not be granted either."""
    with pytest.raises(GrantError, match=r"tool key|speak for all"):
        draft("crm", [Tool(name, {})])


NAMES = ["path", "id", "url", "to", "sql", "command", "repo_path", "token"]
KINDS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["string", "integer", "array", "object", ["string", "null"]]), st.text(max_size=3), st.none()
)
ARGUMENT = st.fixed_dictionaries({"type": KINDS}, optional={"items": st.fixed_dictionaries({"type": KINDS})})
SCHEMAS = st.dictionaries(
    st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), st.one_of(ARGUMENT, st.none()), max_size=5
)


@given(
    names=st.lists(st.from_regex(r"[a-zA-Z_]{1,12}", fullmatch=True), min_size=1, max_size=4),
    schema=SCHEMAS,
    description=st.text(max_size=40),
    hint=st.sampled_from([None, True, False]),
)
def test_every_draft_loads(names: list[str], schema: dict[str, Any], description: str, hint: bool | None) -> None:
    """Whatever a server lists, the file is a catalogue, and one with an entry for each of its tools."""
    said = {"properties": schema, "required": list(schema)}
    tools = [Tool(name, said, description, Hints(hint, hint, hint)) for name in names]
    loaded = Catalogue.load(yaml.safe_load(as_yaml("crm", draft("crm", tools))))
    assert loaded.keys() == tuple(sorted({f"crm.{name}" for name in names}))
