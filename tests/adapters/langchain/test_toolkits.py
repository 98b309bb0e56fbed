"""Toolkits: whatever `get_tools()` gives is governed, each time."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import ConfigDict

import remit
from remit_langchain import GovernedTool, govern
from tests.adapters.langchain.conftest import Body, codes, decorated, kinds, own_class

pytestmark = [pytest.mark.requirement("I2"), pytest.mark.usefixtures("session")]


class Fresh(BaseToolkit):
    """Builds new tools on every call."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    body: Any

    def get_tools(self) -> list[BaseTool]:
        """New tools."""
        return [decorated(self.body), own_class(self.body)]


class Holding(BaseToolkit):
    """Holds its tools in fields."""

    tools: list[BaseTool]
    by_name: dict[str, BaseTool]
    favourite: BaseTool

    def get_tools(self) -> list[BaseTool]:
        """The tools held."""
        return self.tools


def test_fresh_tools_are_governed_each_time(app: remit.App, body: Body) -> None:
    """No tool is given out raw."""
    toolkit = govern(Fresh(body=body), server="shop")

    assert isinstance(toolkit, Fresh)
    for _ in range(2):
        for tool in toolkit.get_tools():
            assert isinstance(tool, GovernedTool)
            with pytest.raises(remit.Denied):
                tool.invoke({"order": "ord_2"})
    assert body.entered == []
    assert codes(app) == ["argument_out_of_bounds"] * 4


def test_tools_in_fields_are_governed_and_not_twice(app: remit.App, body: Body) -> None:
    """Nothing that a toolkit holds in the open is ungoverned."""
    pay = decorated(body)
    original = Holding(tools=[pay], by_name={"pay": pay}, favourite=pay)
    toolkit = govern(original, server="shop")

    for tool in (toolkit.tools[0], toolkit.by_name["pay"], toolkit.favourite, toolkit.get_tools()[0]):
        assert isinstance(tool, GovernedTool)
    toolkit.get_tools()[0].invoke({"order": "ord_1"})
    assert kinds(app) == ["call.intent", "call.outcome"]
    assert original.tools[0] is pay


def test_a_governed_toolkit_stays_as_it_is(body: Body) -> None:
    """Governing again gives the same; copies stay governed."""
    toolkit = govern(Fresh(body=body), server="shop")

    assert govern(toolkit) is toolkit
    assert isinstance(toolkit.model_copy().get_tools()[0], GovernedTool)
    assert isinstance(remit.govern(Fresh(body=body)).get_tools()[0], GovernedTool)
