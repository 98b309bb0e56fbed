"""The page about grants: its examples are grants, and no word of the language is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from remit.authority.constraints import CONSTRAINT_WORDS
from remit.authority.limits import Delegation, GrantLimits, IssueRule
from remit.authority.model import Clause, GrantDocument
from remit.authority.source import read_grant
from tests.authority.granting import issued, written

PAGE = (Path(__file__).parents[2] / "docs" / "grants.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ROWS = re.findall(r"^\| `([a-z_]+)` \| .* \| `(.*)` \|$", PAGE, re.MULTILINE)


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("text", EXAMPLES, ids=["the whole example", "shared limits"])
def test_an_example_is_a_grant(text: str) -> None:
    """It can be read, and issued with the parameters that the page gives."""
    parameters = {"ticket": 88, "requester": "ravi@acme.com"} if read_grant(text).parameters else {}

    assert issued(text, parameters=parameters).tools


def test_every_word_has_its_line() -> None:
    """And the page invents none."""
    assert {word for word, _ in ROWS} == CONSTRAINT_WORDS


@pytest.mark.parametrize(("word", "example"), ROWS)
def test_the_example_of_a_word_is_accepted(word: str, example: str) -> None:
    """As the constraint of one argument."""
    arguments = yaml.safe_load(example)

    terms = issued(written({"t.t": {"arguments": arguments}}, self=["alice@acme.com"]))

    [constraint] = terms.tools["t.t"][0].arguments.values()
    assert word in example or word in constraint.names()


def test_every_key_is_on_the_page() -> None:
    """Top level, clauses, limits, issuing and handing on."""
    keys = {*GrantDocument.model_fields, *Clause.model_fields, *GrantLimits.model_fields}
    keys |= {*IssueRule.model_fields, *Delegation.model_fields}
    keys = keys - {"addresses"} | {"self"}

    assert {key for key in keys if f"`{key}" not in PAGE} == set()
