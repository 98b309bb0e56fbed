"""What nobody should hand in: it is refused in a sentence, and what a model sent is on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import remit
from tests.core.conftest import TRIAGE, Tool, data, types
from tests.stores import temporary


class Explosive(dict[str, Any]):
    """A mapping whose contents cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("no items")


@pytest.mark.requirement("code:argument_unrepresentable")
@pytest.mark.requirement("I1")
@pytest.mark.parametrize("arguments", [None, [1], {"q": Explosive(a=1)}, {1: 2}], ids=repr)
def test_arguments_that_cannot_be_read_are_refused_and_recorded(
    app: remit.App, grant: remit.Grant, tool: Tool, arguments: Any
) -> None:
    """No traceback takes the place of a denial."""
    with app.session(grant) as session, pytest.raises(remit.Denied) as denied:
        session.call("kb.search", arguments, run=tool)
    assert denied.value.code == "argument_unrepresentable"
    assert "call.denied" in types(app)
    assert tool.calls == []


def test_call_id_that_is_no_text_in_utf_8_still_names_one_call(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """Frameworks give ids; they only have to be told apart."""
    with app.session(grant) as session:
        for call_id in ("\ud800", "\ud800", "\ud801"):
            session.call("kb.search", {"q": "a"}, run=tool, call_id=call_id)
    assert len(tool.calls) == 2


def test_programming_errors_are_told_in_a_sentence(app: remit.App, grant: remit.Grant, tool: Tool) -> None:
    """A wrong type names what was expected."""
    wrong: Any = None
    with pytest.raises(remit.UsageError, match="needs a grant"):
        app.session(wrong)
    with pytest.raises(remit.UsageError, match="UTF-8"):
        app.session(grant, key="\ud800")
    with app.session(grant) as session, pytest.raises(remit.UsageError, match="named by text"):
        session.call(wrong, {}, run=tool)
    number: Any = 7
    with pytest.raises(remit.IdentityError, match=r"needs a remit\.Credential"):
        app.revoke(grant.id, reason="over", credential=number)


def test_call_whose_parts_fit_but_not_together_is_too_large(tmp_path: Path, tool: Tool) -> None:
    """A thousand long resources are each small enough; all of them are more than one record may hold."""
    catalogue = {"tools": {"fs.read": {"accesses": ["read file://{paths*}"], "kinds": {"paths": "path"}}}}
    granted = {**TRIAGE, "tools": {"fs.read": {"resources": "any", "arguments": {"paths": "any"}}}}
    with temporary(tmp_path, catalogue=catalogue) as app:
        grant = app.issue(granted, credential="user:ravi@acme.com")
        deep = "/".join(["ü" * 80] * 6)
        with app.session(grant) as session, pytest.raises(remit.Denied) as caught:
            session.call("fs.read", {"paths": [f"/srv/{n}/{deep}" for n in range(999)]}, run=tool)

        assert caught.value.code == "too_large"
        assert tool.calls == []
        assert len(data(app, "call.denied")) == 1
