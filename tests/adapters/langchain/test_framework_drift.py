"""LangChain is not ours: what it renames or leaves out may stop a call, never let one pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool

import remit
from remit_langchain import govern
from tests.adapters.langchain.conftest import Body, call, codes, decorated, kinds, own_class, single_input

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.requirement("T8")


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("name", ["_filter_injected_args", "tool_call_schema"])
def test_a_symbol_that_is_gone_stops_the_call(app: remit.App, body: Body, name: str) -> None:
    """Whatever the adapter can no longer read, the body is not entered outside the grant."""
    governed = govern(decorated(body), server="shop")
    governed.description = "So that the definition is read again."
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(BaseTool, name)
        try:
            answer = governed.invoke(call("pay", order="ord_2"))
        except AttributeError:
            answer = None

    assert body.entered == []
    assert answer is None or answer.status == "error"
    assert "call.intent" not in kinds(app)


@pytest.mark.usefixtures("session")
def test_a_langchain_that_calls_the_function_itself_still_passes_the_gate(app: remit.App, body: Body) -> None:
    """`_run` is the innermost method today; the function behind it is guarded as well."""

    def run(self: Any, tool_input: Any, **kwargs: Any) -> Any:
        return self.func(**tool_input)

    governed = govern(decorated(body), server="shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseTool, "run", run)
        answer = governed.invoke(call("pay", order="ord_2"))

    assert answer.status == "error"
    assert body.entered == []
    assert codes(app) == ["argument_out_of_bounds"]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("make", [decorated, own_class, single_input])
def test_a_denial_is_no_exception_that_langchain_handles(body: Body, make: Any) -> None:
    """`ToolException` and validation errors have handlers; a refusal is neither."""
    from langchain_core.tools import ToolException
    from pydantic import ValidationError

    assert not issubclass(remit.Denied, ToolException | ValidationError | ValueError)
    assert isinstance(make(body), BaseTool)


WITHOUT_LANGGRAPH = """
import sys
sys.modules["langgraph"] = sys.modules["langchain"] = None
import remit
from langchain_core.tools import tool
from remit_langchain import govern

@tool
def pay(order: str) -> str:
    "Pay."
    return "paid " + order

with remit.open("sqlite:///" + sys.argv[1], development=True) as app:
    grant = app.issue({
        "task": "Pay", "principal": "user:ravi@acme.com", "agent": "agent:pay", "expires_in": "5m",
        "tools": {"shop.pay": {"arguments": {"order": "ord_1"}}},
    }, credential="user:ravi@acme.com")
    governed = govern(pay, server="shop")
    with app.session(grant):
        print(governed.invoke({"order": "ord_1"}))
        print(governed.invoke({"type": "tool_call", "id": "1", "name": "pay", "args": {"order": "ord_2"}}).status)
"""


def test_without_langgraph_tools_are_governed_the_same(tmp_path: Path) -> None:
    """Only langchain-core is needed for `govern`."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'adapters'}"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LANGGRAPH, str(tmp_path / "remit.db")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )

    assert done.stdout.split() == ["paid", "ord_1", "error"], done.stderr
