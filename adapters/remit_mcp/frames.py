"""Newline-delimited JSON-RPC frames, read so that only one reading is possible.

From the client to the server a frame is parsed strictly and written anew: what the gate saw is what the server reads,
whichever JSON reader it has. From the server to the client frames pass byte for byte.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal, NamedTuple

MAX_FRAME: Final = 64 * 1024 * 1024
"""Bytes of one frame; results may carry images."""

MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})

Kind = Literal["request", "notification", "response"]


class MalformedFrame(ValueError):
    """A frame that is not exactly one JSON-RPC message. `id` is its request id, where one could be read."""

    def __init__(self, message: str, id: str | int | None = None) -> None:  # noqa: A002 - the protocol's word
        super().__init__(message)
        self.id = id


class Frame(NamedTuple):
    """One message, parsed."""

    kind: Kind
    message: dict[str, Any]

    @property
    def method(self) -> str:
        """The method of a request or notification."""
        return str(self.message.get("method"))

    @property
    def params(self) -> dict[str, Any] | None:
        """Its params, where they are an object."""
        found = self.message.get("params")
        return found if isinstance(found, dict) else None


def request_key(id: Any) -> str:  # noqa: A002
    """A request id as a key that keeps `1` and `"1"` apart."""
    return json.dumps(id)


def parse_client(line: bytes) -> Frame:
    """A frame from the client. Raises `MalformedFrame` for whatever a server might read in another way."""
    message = _strict(line)
    for member in message:
        if member not in MEMBERS and member.casefold() in MEMBERS:
            raise MalformedFrame(f"the message has a member {member!r}, which some servers would read as another name")
    if message.get("jsonrpc") != "2.0":
        raise MalformedFrame(f"the message says jsonrpc {message.get('jsonrpc')!r}, expected '2.0'")
    if "method" not in message:
        return Frame("response", message)
    if not isinstance(message["method"], str):
        raise MalformedFrame("the message's method is no string")
    if "id" not in message:
        return Frame("notification", message)
    found = message["id"]
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise MalformedFrame(f"the request's id is {found!r}, expected a string or an integer")
    if message.get("params") is not None and not isinstance(message["params"], dict):
        raise MalformedFrame("the request's params are no object", found)
    return Frame("request", message)


def parse_server(line: bytes) -> Frame | None:
    """A frame from the server, or None for something else that it printed."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    if "method" not in message:
        return Frame("response", message)
    return Frame("request" if "id" in message else "notification", message)


def _strict(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant)
    except MalformedFrame:
        raise
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(f"the frame is no JSON text ({error})") from error
    if isinstance(found, list):
        raise MalformedFrame("the frame is a batch; each message has to come in a frame of its own")
    if not isinstance(found, dict):
        raise MalformedFrame(f"the frame is a {type(found).__name__}, expected a JSON-RPC message")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedFrame(f"the frame says {twice!r} twice in one object, so it has two readings")
    return found


def _no_constant(text: str) -> Any:
    raise MalformedFrame(f"the frame has {text}, which is not JSON")


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


async def lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Frames as they arrive, without their line ends. Raises `MalformedFrame` for one longer than `MAX_FRAME`."""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial.strip():
                yield end.partial
            return
        except asyncio.LimitOverrunError as error:
            raise MalformedFrame(f"a frame is longer than {MAX_FRAME} bytes") from error
        if line.strip():
            yield line
