"""Which session a call belongs to."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig, RunnableLambda

import remit
from remit.testing import temporary
from remit_langchain import govern
from tests.adapters.langchain.conftest import SHOP, Body, call, codes, decorated, scripted

ARGS = {"order": "ord_1", "amount": 1}


def configured(session: remit.Session) -> RunnableConfig:
    """A run's config that names the session."""
    return {"configurable": {"remit_session": session.id}}


def sessions_of(app: remit.App) -> list[str | None]:
    """The session of every intent."""
    return [record.session for record in app.records() if record.type == "call.intent"]


def test_the_block_that_a_call_runs_in(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """The session of the `with` block, in this thread, in batch threads, and on an event loop."""
    tool = govern(decorated(body), server="shop")
    with app.session(grant) as session:
        tool.invoke(ARGS)
        tool.batch([ARGS, ARGS])
        asyncio.run(tool.ainvoke(ARGS))
        RunnableLambda(lambda args: tool.invoke(args)).invoke(ARGS)

    assert sessions_of(app) == [session.id] * 5


def test_an_async_block(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """`async with` and tasks within it."""
    tool = govern(decorated(body), server="shop")

    async def main() -> str:
        async with app.session(grant) as session:
            await asyncio.gather(tool.ainvoke(ARGS), tool.ainvoke(ARGS))
            return session.id

    session_id = asyncio.run(main())
    assert sessions_of(app) == [session_id] * 2


def test_an_explicit_session(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """`govern(…, session=)` needs no block, in any thread."""
    session = app.session(grant, key="thread:1")
    tool = govern(decorated(body), server="shop", session=session)
    with ThreadPoolExecutor() as pool:
        pool.submit(tool.invoke, ARGS).result()

    assert sessions_of(app) == [session.id]


def test_a_session_in_the_config(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """Found by its id, through an agent too; `app=` says where to look."""
    session = app.session(grant, key="thread:1").open()
    tools = govern([decorated(body)], server="shop", app=app)
    tools[0].invoke(ARGS, configured(session))
    create_agent(scripted([call("pay", **ARGS)]), tools).invoke({"messages": [("user", "Pay")]}, configured(session))
    asyncio.run(tools[0].ainvoke(ARGS, configured(session)))

    assert sessions_of(app) == [session.id] * 3


def test_the_same_session_named_twice_is_one(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """Agreement is no conflict."""
    with app.session(grant) as session:
        govern(decorated(body), server="shop", session=session).invoke(ARGS, configured(session))

    assert sessions_of(app) == [session.id]


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.requirement("I5")
def test_two_sessions_that_differ_are_refused(app: remit.App, grant: remit.Grant, body: Body, explicit: bool) -> None:
    """Nobody chooses between two."""
    other = app.session(app.issue(SHOP, credential="user:ravi@acme.com")).open()
    tool = govern(decorated(body), server="shop", app=app, session=other if explicit else None)
    with app.session(grant), pytest.raises(remit.UsageError, match="two sessions"):
        tool.invoke(call("pay", **ARGS), {} if explicit else configured(other))

    assert body.entered == []


@pytest.mark.requirement("code:no_grant")
@pytest.mark.requirement("I1")
@pytest.mark.requirement("T2")
@pytest.mark.parametrize(
    "enter",
    [
        lambda tool: tool.invoke(ARGS),
        lambda tool: tool.func(**ARGS),
        lambda tool: asyncio.run(tool.ainvoke(ARGS)),
    ],
)
def test_no_session_is_denied_and_recorded(app: remit.App, body: Body, enter: Callable[[Any], Any]) -> None:
    """Without a session nothing is granted."""
    with pytest.raises(remit.Denied) as caught:
        enter(govern(decorated(body), server="shop", app=app))

    assert caught.value.code == "no_grant"
    assert codes(app) == ["no_grant"]
    assert body.entered == []


def test_no_session_is_an_answer_to_a_model(app: remit.App, body: Body) -> None:
    """As any other refusal."""
    answer = govern(decorated(body), server="shop").invoke(call("pay", **ARGS))

    assert answer.artifact["remit"]["code"] == "no_grant"


def test_two_apps_are_kept_apart(app: remit.App, grant: remit.Grant, body: Body, tmp_path: Path) -> None:
    """A tool governed for one app does not run under a session that the config names in another."""
    (tmp_path / "other").mkdir()
    with temporary(tmp_path / "other") as other:
        session = other.session(other.issue(SHOP, credential="user:ravi@acme.com")).open()
        with pytest.raises(remit.UsageError, match="no session"):
            govern(decorated(body), server="shop", app=app).invoke(ARGS, configured(session))

    assert body.entered == []


def test_a_fresh_context_has_no_session(app: remit.App, grant: remit.Grant, body: Body) -> None:
    """A thread that somebody started without the context is not inside the block."""
    tool = govern(decorated(body), server="shop")
    with app.session(grant), pytest.raises(remit.Denied):
        contextvars.Context().run(tool.invoke, ARGS)
