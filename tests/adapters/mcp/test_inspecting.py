"""`remit mcp inspect` over Streamable HTTP, and what it says when there is no server to ask."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from mcp.server import MCPServer

import remit
from remit.resources.drafting import draft
from remit_mcp.inspecting import inspect


@contextmanager
def listening(server: MCPServer) -> Iterator[str]:
    """The server over Streamable HTTP on a free port of this machine; its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        running = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error", lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[bound])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
        finally:
            running.should_exit = True
            thread.join()


def test_a_server_is_asked_over_http() -> None:
    """Tools of a real HTTP server, with the hints that it gives."""
    server = MCPServer("crm")

    @server.tool()
    def read_ticket(id: int) -> str:
        """Reads a ticket."""
        return str(id)

    with listening(server) as address:
        [tool] = inspect(address=address)
    assert (tool.name, tool.description) == ("read_ticket", "Reads a ticket.")
    assert draft("crm", [tool])[0].words == {"accesses": ["read crm://{id}"]}


@pytest.mark.parametrize(
    "command",
    [["no-such-program-anywhere"], [sys.executable, "-c", "print('hello')"], [sys.executable, "-c", "pass"]],
    ids=["missing", "chatty", "ends"],
)
def test_what_is_no_server_is_said(command: list[str]) -> None:
    """A program that is not there, or speaks something else, is an error in a sentence and not a traceback."""
    with pytest.raises(remit.UsageError, match="lists no tools"):
        inspect(command)


def test_an_address_where_nobody_listens_is_said() -> None:
    """The port was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
        with pytest.raises(remit.UsageError, match="lists no tools"):
            inspect(address=address)


def test_one_server_has_to_be_named() -> None:
    """Neither a command nor an address, or both."""
    for command, address in (([], None), (["x"], "http://127.0.0.1:1/mcp")):
        with pytest.raises(remit.UsageError, match="which server"):
            inspect(command, address=address)
