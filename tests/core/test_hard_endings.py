"""Calls that end in a way nobody hopes for: unreadable results, interrupts, closed apps, tools that call themselves."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import remit
from remit.testing import Clock
from tests.core.conftest import TRIAGE, Tool, data, types
from tests.stores import url_for


def statuses(app: remit.App, session_id: str | None = None) -> list[str]:
    """What the outcomes say, in order."""
    return [record.data["status"] for record in app.records(session_id) if record.type == "call.outcome"]


class Unreadable(Exception):
    """An error that fails when its text is asked for."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class TestOutcome:
    """Whatever a tool returns or raises, its outcome is written."""

    @pytest.mark.requirement("I11")
    def test_of_a_result_that_cannot_be_read_is_recorded_without_it(self, app: remit.App, grant: remit.Grant) -> None:
        """The tool ran: a result whose own code fails cannot undo that."""

        @dataclasses.dataclass
        class Broken:
            field: int

        broken = Broken(1)
        del broken.field
        with app.session(grant) as session:
            assert session.call("kb.search", {"q": "a"}, run=lambda q: broken) is broken
        assert statuses(app) == ["ok"]
        assert data(app, "call.outcome")[0]["result"]["kept"] is False

    @pytest.mark.parametrize("error", [Unreadable(), ValueError("a lone surrogate: \ud800")])
    def test_of_an_error_whose_text_cannot_be_kept_is_an_exception(
        self, app: remit.App, grant: remit.Grant, error: Exception
    ) -> None:
        """The type is always there; the text as far as it can be read."""
        with app.session(grant) as session, pytest.raises(type(error)):
            session.call("kb.search", {"q": "a"}, run=Tool(error))
        assert statuses(app) == ["exception"]
        private = next(record.disclosed() for record in app.records() if record.type == "call.outcome")
        assert private is not None
        assert private["error"].startswith(type(error).__name__)

    def test_of_an_async_generator_from_a_synchronous_call_is_written_when_the_stream_ends(
        self, app: remit.App, grant: remit.Grant
    ) -> None:
        """Returning a generator is not having run."""

        async def pages(q: str) -> AsyncIterator[int]:
            yield 1
            yield 2

        async def read(stream: Any) -> list[int]:
            return [page async for page in stream]

        with app.session(grant) as session:
            stream = session.call("kb.search", {"q": "a"}, run=pages)
            assert statuses(app) == []
            assert asyncio.run(read(stream)) == [1, 2]
        assert statuses(app) == ["ok"]

    def test_of_a_generator_that_an_async_function_returned_is_written_when_the_stream_ends(
        self, app: remit.App, grant: remit.Grant
    ) -> None:
        """As above, the other way round."""

        async def pages(q: str) -> Iterator[int]:
            return (page for page in (1, 2))

        with app.session(grant) as session:
            stream = asyncio.run(session.acall("kb.search", {"q": "a"}, run=pages))
            assert statuses(app) == []
            assert list(stream) == [1, 2]
        assert statuses(app) == ["ok"]

    def test_of_a_stream_whose_closing_fails_is_an_exception(self, app: remit.App, grant: remit.Grant) -> None:
        """What the tool does when it is left belongs to the call."""

        def pages(q: str) -> Iterator[int]:
            try:
                yield 1
            finally:
                raise ValueError("cannot let go")

        with app.session(grant) as session:
            stream = session.call("kb.search", {"q": "a"}, run=pages)
            next(stream)
            with pytest.raises(ValueError, match="cannot let go"):
                stream.close()
        assert statuses(app) == ["exception"]

    def test_that_the_app_was_closed_over_says_that_the_tool_ran(self, tmp_path: Path) -> None:
        """Whoever closes the app under a running tool is told not to try again."""
        app = remit.open(url_for(tmp_path), development=True)
        session = app.session(app.issue(TRIAGE, credential="user:ravi@acme.com"))
        with pytest.raises(remit.EvidenceUnavailable, match="do not call it again") as raised:
            session.call("kb.search", {"q": "a"}, run=lambda q: app.close())
        assert raised.value.executed


class TestAsyncCall:
    """`acall` takes whatever becomes awaitable in the end."""

    @pytest.mark.parametrize("kind", ["async wrapper of a plain function", "plain function that returns a coroutine"])
    def test_awaits_what_a_disguised_async_function_returns(
        self, app: remit.App, grant: remit.Grant, kind: str
    ) -> None:
        """Whether a function is async does not always show."""

        def plain(q: str) -> str:
            return f"found {q}"

        @functools.wraps(plain)
        async def wrapped(q: str) -> str:
            return plain(q)

        run: Callable[..., Any] = wrapped if kind.startswith("async") else lambda q: wrapped(q)
        with app.session(grant) as session:
            assert asyncio.run(session.acall("kb.search", {"q": "a"}, run=run)) == "found a"
        assert statuses(app) == ["ok"]


class TestReEntry:
    """A call that is asked for again while it runs."""

    @pytest.mark.requirement("I10")
    def test_from_its_own_tool_body_is_refused_instead_of_waiting_for_itself(
        self, app: remit.App, grant: remit.Grant, tool: Tool
    ) -> None:
        """A tool governed twice would wait for itself for ever."""
        with app.session(grant) as session:

            def again(q: str) -> Any:
                return session.call("kb.search", {"q": q}, run=tool, call_id="1", scope="run")

            def outer(q: str) -> Any:
                return session.call("kb.search", {"q": "between"}, run=lambda q: again("a"))

            with pytest.raises(remit.Denied) as denied:
                session.call("kb.search", {"q": "a"}, run=outer, call_id="1", scope="run")
        assert denied.value.code == "call_conflict"
        assert tool.calls == []

    @pytest.mark.requirement("I10")
    def test_of_a_stream_gets_no_invented_result(self, app: remit.App, grant: remit.Grant) -> None:
        """A stream can be read once; whoever joined is told so."""
        joined: list[BaseException] = []

        def pages(q: str) -> Iterator[int]:
            yield 1

        with app.session(grant) as session:
            stream = session.call("kb.search", {"q": "a"}, run=pages, call_id="1")

            def join() -> None:
                with pytest.raises(remit.Denied) as denied:
                    session.call("kb.search", {"q": "a"}, run=pages, call_id="1")
                joined.append(denied.value)

            thread = threading.Thread(target=join)
            thread.start()
            while "call.replayed" not in types(app):
                thread.join(0.01)
            assert list(stream) == [1]
            thread.join()
        assert [error.code for error in joined if isinstance(error, remit.Denied)] == ["already_executed"]


class InterruptingClock(Clock):
    """A clock that, once armed, interrupts the main thread while the writer is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.release = threading.Event()

    def __call__(self) -> datetime:
        if self.armed and threading.current_thread() is not threading.main_thread():
            self.armed = False
            os.kill(os.getpid(), signal.SIGINT)
            assert self.release.wait(30)
        return super().__call__()


class InterruptingClaim(dict[str, Any]):
    """What a request says of itself; the gate looks at it inside the transaction, and is interrupted there."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def get(self, name: str, default: Any = None) -> Any:
        """Interrupt the caller once, and go on when it has given up."""
        if not self.release.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            assert self.release.wait(30)
        return super().get(name, default)


class TestInterrupt:
    """Ctrl-C at the worst moments."""

    @pytest.mark.requirement("I2")
    @pytest.mark.requirement("I7")
    def test_between_intent_and_tool_takes_the_intent_back(self, tmp_path: Path, tool: Tool) -> None:
        """The intent becomes durable after its caller gave up: it is `not_run`, and its limit is given back."""
        claimed = InterruptingClaim()
        with remit.open(url_for(tmp_path), development=True) as app:
            grant = app.issue({**TRIAGE, "limits": {"calls": 1}}, credential="user:ravi@acme.com")
            with app.session(grant) as session:
                with pytest.raises(KeyboardInterrupt):
                    session.call("kb.search", {"q": "a"}, run=tool, call_id="1", claimed=claimed)
                claimed.release.set()
                assert session.call("kb.search", {"q": "a"}, run=tool, call_id="1") == "done"
            assert statuses(app) == ["not_run", "ok"]
        assert len(tool.calls) == 1

    @pytest.mark.requirement("I2")
    def test_while_the_outcome_is_written_writes_it_once(self, tmp_path: Path) -> None:
        """Nothing is written twice, given back twice, or left open."""
        clock = InterruptingClock()
        with remit.open(url_for(tmp_path), development=True, clock=clock) as app:
            grant = app.issue(TRIAGE, credential="user:ravi@acme.com")
            with app.session(grant) as session:

                def arm(q: str) -> str:
                    clock.armed = True
                    return "done"

                with pytest.raises(KeyboardInterrupt):
                    session.call("kb.search", {"q": "a"}, run=arm, call_id="1")
                clock.release.set()
                assert session.call("kb.search", {"q": "a"}, run=arm, call_id="1") == "done"
            assert statuses(app) == ["ok"]


@pytest.mark.requirement("I10")
def test_tool_that_forks_and_comes_back_twice_has_one_outcome(app: remit.App, grant: remit.Grant) -> None:
    """The outcome belongs to the process that the call began in."""
    with app.session(grant, key="shared") as session:
        parent = os.getpid()
        child = session.call("kb.search", {"q": "a"}, run=lambda q: os.fork())
        if os.getpid() != parent:
            app.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert statuses(app) == ["ok"]
    app.verify()
