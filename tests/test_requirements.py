"""The manifest and the tests agree, in both directions. Marks are read from the source: it costs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

from remit.errors import DENIAL_CODES
from tests.requirements import REQUIREMENTS, Later

TESTS = Path(__file__).parent


class Mark(NamedTuple):
    """One `requirement("id")` in a test file."""

    id: str
    where: str


def _marks() -> Iterator[Mark]:
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr != "requirement":
                continue
            where = f"{path.relative_to(TESTS.parent)}:{node.lineno}"
            for argument in node.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise AssertionError(f"{where}: name a requirement by a literal, so that it can be counted")
                yield Mark(argument.value, where)


def test_every_requirement_that_is_not_deferred_has_a_test() -> None:
    """A requirement without a test is a wish."""
    proved = {mark.id for mark in _marks()}
    wanted = {name for name, requirement in REQUIREMENTS.items() if requirement.deferred is None}
    assert sorted(wanted - proved) == []


def test_every_mark_names_a_known_requirement() -> None:
    """A mark that names nothing proves nothing."""
    assert [mark for mark in _marks() if mark.id not in REQUIREMENTS] == []


def test_a_deferred_requirement_has_no_test_yet() -> None:
    """What a test proves already is no longer deferred."""
    deferred = {name for name, requirement in REQUIREMENTS.items() if requirement.deferred is not None}
    assert [mark for mark in _marks() if mark.id in deferred] == []


def test_a_deferral_names_a_part_that_exists() -> None:
    """A deferral points at the part that will build it."""
    parts = {wanted.deferred for wanted in REQUIREMENTS.values() if wanted.deferred is not None}
    assert parts <= set(get_args(Later))


def test_every_denial_code_is_a_requirement() -> None:
    """The closed list of codes and the manifest cannot drift apart."""
    listed = {name for name in REQUIREMENTS if name.startswith("code:")}
    assert {f"code:{code}" for code in DENIAL_CODES} == listed
