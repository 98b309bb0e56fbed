"""The page on catalogues says what is true: its example loads, its table of calls is right, its lists are complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from remit.errors import NotCanonical
from remit.resources.catalogue import Catalogue
from remit.resources.entries import EntrySpec
from remit.resources.shell_programs import PLAIN, SPECS
from remit.resources.shell_special import SPECIAL
from remit.resources.shell_wrappers import SHELLS, WRAPPERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "catalogues.md").read_text(encoding="utf-8")


def example(tmp_path: Path) -> Catalogue:
    found = re.search(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    path = tmp_path / "catalogue.yaml"
    path.write_text(found[1], encoding="utf-8")
    return Catalogue.load(path)


def calls() -> list[tuple[str, str]]:
    return re.findall(r"^\| `([a-z0-9]+\.[a-z_]+\(.*?\))` \| (.+) \|$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("call", "accesses"), calls())
def test_each_call_of_the_page_touches_what_it_says(tmp_path: Path, call: str, accesses: str) -> None:
    """The table is read from the page and resolved by its own example."""
    tool, _, arguments = call.partition("(")
    entry = example(tmp_path).entry(tool)
    assert entry is not None
    call_node = ast.parse(f"f({arguments}", mode="eval").body
    assert isinstance(call_node, ast.Call)
    given = {word.arg or "": ast.literal_eval(word.value) for word in call_node.keywords}
    if accesses.startswith("refused"):
        with pytest.raises(NotCanonical):
            entry.resolve(given)
    else:
        assert [f"`{access}`" for access in entry.resolve(given)] == re.findall(r"`[^`]+`", accesses)


def test_every_word_of_an_entry_is_explained() -> None:
    """A word that the page leaves out does not exist."""
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", PAGE, flags=re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    assert {field.alias or name for name, field in EntrySpec.model_fields.items()} <= explained


def test_the_programs_that_are_understood_are_listed() -> None:
    """All of them, and no other."""
    found = re.search(r"<!-- programs -->(.*?)<!-- /programs -->", PAGE, flags=re.DOTALL)
    assert found is not None
    listed = re.findall(r"`([^`]+)`", found[1])
    known = PLAIN | SPECS.keys() | SPECIAL.keys() | SHELLS | WRAPPERS.keys() | {"printenv", "cd", "set"}
    assert listed == sorted(known)


def test_every_shipped_catalogue_is_named() -> None:
    """By the name that the command line takes."""
    assert all(f"`{path.stem}`" in PAGE for path in (ROOT / "policies" / "catalogues").glob("*.yaml"))
