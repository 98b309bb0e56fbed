"""The proxy's two directions: frames pass; governed requests take the way through the gate.

Client and server negotiate with each other, so either protocol era works that both of them speak, and whatever they
agree on later (extensions, cursors, progress, cancellation, elicitation, list changes) passes unread.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import remit
from remit.ids import new_id
from remit_mcp.door import Door, Request
from remit_mcp.frames import Frame, MalformedFrame, encode, lines, parse_client, parse_server, request_key
from remit_mcp.grants import Caller
from remit_mcp.listing import Listing
from remit_mcp.upstream import GRACE, Upstream
from remit_mcp.wire import (
    DENIAL_META,
    DENIED,
    GOVERNED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    MalformedRequest,
    Status,
    asked,
    claims,
    denial,
    denied_result,
    error_result,
    is_modern,
    read_result,
    read_task_status,
    shown,
    task_id,
    with_arguments,
)

logger = logging.getLogger("remit.mcp")

Send = Callable[[bytes], Awaitable[None]]

ENDED: Final[Mapping[str, Status]] = {"unknown": "unknown", "cancelled": "cancelled", "not_run": "not_run"}
"""Replies that no server sent: how a call ended that was not answered."""


class Flight:
    """One governed request, from its arrival to its answer."""

    def __init__(self) -> None:
        self.cancelled = False
        self.sent = False
        self.reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.raw: bytes | None = None
        self.turn = asyncio.Event()

    def answer(self, reply: dict[str, Any], raw: bytes | None = None) -> None:
        """What came of it; only the first counts."""
        if not self.reply.done():
            self.raw = raw
            self.reply.set_result(reply)


class Relay:
    """One connection between a client and a governed server."""

    def __init__(self, door: Door, upstream: Upstream, to_client: Send) -> None:
        self._door = door
        self._upstream = upstream
        self._to_client = to_client
        self._connection = new_id("m")
        self._client: str | None = None
        self._listing = Listing(door.name)
        self._listing_now = asyncio.Lock()
        self._flights: dict[str, Flight] = {}
        self._outstanding: dict[str, Frame | None] = {}
        self._own: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._last: Flight | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, reader: asyncio.StreamReader) -> bool:
        """Serve until either side ends; then settle what is open and close the session on the record.

        Returns whether it was the client that ended the connection.
        """
        down = asyncio.create_task(self._from_client(reader))
        up = asyncio.create_task(self._from_server())
        try:
            done, _ = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            if down in done:  # the client has gone: the server may still answer what it was asked
                for flight in list(self._flights.values()):
                    await flight.turn.wait()
                await self._upstream.end_of_input()
                await asyncio.wait({up}, timeout=GRACE)
            for finished in done:
                finished.result()
        except MalformedFrame as error:
            logger.error("the connection was ended: %s", error)
            return False
        finally:
            await self._settle(down, up)
        return down in done

    async def _settle(self, *pumps: asyncio.Task[None]) -> None:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await self._upstream.close()
        self._nobody_answers()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._door.close(self._connection)

    def _nobody_answers(self) -> None:
        why = self._upstream.how_it_ended()
        for flight in self._flights.values():
            flight.answer({"unknown": f"{why} before it answered"} if flight.sent else {"not_run": why})
        for waiting in self._own.values():
            if not waiting.done():
                waiting.set_result({"error": {"message": why}})

    # -- from the client

    async def _from_client(self, reader: asyncio.StreamReader) -> None:
        async for line in lines(reader):
            try:
                frame = parse_client(line)
            except MalformedFrame as error:
                logger.warning("refused a frame from the client: %s", error)
                code = PARSE_ERROR if error.id is None else INVALID_REQUEST
                await self._to_client(encode(_error(error.id, code, str(error))))
                continue
            await self._client_frame(frame)

    async def _client_frame(self, frame: Frame) -> None:
        if frame.kind == "notification":
            await self._client_notification(frame)
        elif frame.kind == "response":
            await self._upstream.send(encode(frame.message))
        elif _meant(frame.method) in GOVERNED and frame.method not in GOVERNED:
            await self._refuse(frame, INVALID_REQUEST, f"{frame.method!r} is not quite the name of a governed request")
        elif (key := request_key(frame.message["id"])) in self._outstanding or key in self._flights:
            await self._refuse(frame, INVALID_REQUEST, f"a request with the id {key} is still open")
        elif frame.method in GOVERNED or (frame.method in ("tasks/result", "tasks/get") and self._waited_for(frame)):
            self._start(frame)
        else:
            self._note_client(frame)
            self._outstanding[key] = frame
            await self._upstream.send(encode(frame.message))

    def _note_client(self, frame: Frame) -> None:
        info = (frame.params or {}).get("clientInfo") if frame.method == "initialize" else None
        if isinstance(info, Mapping):
            self._client = f"{info.get('name')} {info.get('version')}"[:200]

    async def _client_notification(self, frame: Frame) -> None:
        if _meant(frame.method) in GOVERNED:
            logger.warning("dropped %r without an id: nobody could be told what came of it", frame.method)
            return
        if frame.method == "notifications/cancelled":
            key = request_key((frame.params or {}).get("requestId"))
            flight = self._flights.get(key)
            if flight is not None:
                await self._cancel(key, flight, frame)
                return
            self._outstanding.pop(key, None)
        await self._upstream.send(encode(frame.message))

    async def _cancel(self, key: str, flight: Flight, frame: Frame) -> None:
        flight.cancelled = True
        if flight.sent:
            await self._upstream.send(encode(frame.message))
            self._outstanding.pop(key, None)
            why = "the client cancelled it and the server was told; it may have finished all the same"
            flight.answer({"cancelled": why})
        else:
            flight.answer({"not_run": "the client cancelled it before it was sent on"})

    async def _refuse(self, frame: Frame, code: int, why: str, data: Any = None) -> None:
        await self._to_client(encode(_error(frame.message["id"], code, why, data)))

    # -- governed requests

    def _start(self, frame: Frame) -> None:
        flight = self._flights[request_key(frame.message["id"])] = Flight()
        before, self._last = self._last, flight
        task = asyncio.create_task(self._govern(frame, flight, before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _govern(self, frame: Frame, flight: Flight, before: Flight | None) -> None:
        try:
            reply = await self._decided(frame, flight, before)
            if "cancelled" in reply or ("not_run" in reply and flight.cancelled):
                return
            await self._to_client(self._reply(frame, flight, reply))
        except MalformedRequest as error:
            await self._refuse(frame, INVALID_PARAMS, str(error))
        except remit.RemitError as error:
            await self._denied(frame, error)
        except Exception:
            logger.exception("%s could not be governed", frame.method)
            await self._refuse(frame, INTERNAL_ERROR, "Remit failed; the request did not pass. Its log says why.")
        finally:
            flight.turn.set()
            self._flights.pop(request_key(frame.message["id"]), None)

    async def _decided(self, frame: Frame, flight: Flight, before: Flight | None) -> dict[str, Any]:
        caller = Caller(self._connection, None, None, claims(frame.params), self._client, *shown(frame.params))
        if frame.method in ("tasks/result", "tasks/get"):
            return await self._task(frame, flight, caller)
        tool, arguments = asked(frame.method, frame.params)
        request = Request(frame.method, tool, arguments, caller, request_key(frame.message["id"]), frame.params)
        if frame.method == "tools/call":
            request = await self._pinned(request, frame)

        async def run(**decided: Any) -> dict[str, Any]:
            if before is not None:
                await before.turn.wait()  # calls reach the server in the order in which they came
            return await self._forward(frame, flight, with_arguments(frame.method, frame.params, decided))

        return await self._door.call(request, run, classify=read_reply)

    async def _forward(self, frame: Frame, flight: Flight, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if not flight.reply.done():
            flight.sent = True
            self._outstanding[request_key(frame.message["id"])] = None
            message = frame.message if params is None else {**frame.message, "params": params}
            await self._upstream.send(encode(message))
        flight.turn.set()
        return await flight.reply

    async def _task(self, frame: Frame, flight: Flight, caller: Caller) -> dict[str, Any]:
        """`tasks/result` of a call that became a task ends that call; so does a `tasks/get` that tells of its end."""
        task = task_id(frame.params) or ""
        waiting = self._door.pending_task(caller, task)
        if waiting is None:
            return await self._forward(frame, flight, None)
        request = Request("tools/call", waiting.tool, waiting.arguments, caller, params=frame.params)
        if frame.method == "tasks/result":
            return await self._door.continue_task(
                request, task, lambda: self._forward(frame, flight, None), classify=read_reply
            )
        reply = await self._forward(frame, flight, None)
        if _task_status(reply)[0] != "pending":

            async def told() -> dict[str, Any]:
                return reply

            await self._door.continue_task(request, task, told, classify=_task_status)
        return reply

    def _waited_for(self, frame: Frame) -> bool:
        task = task_id(frame.params)
        return task is not None and self._door.pending_task(Caller(self._connection), task) is not None

    async def _pinned(self, request: Request, frame: Frame) -> Request:
        async with self._listing_now:  # calls that come meanwhile are judged by what is listed, not by nothing
            if not self._listing.current:
                await self._listing.ask(self._ask, frame.params)
                await self._note_listed()
        try:
            return dataclasses.replace(request, definition=self._listing.definition(request.tool))
        except remit.GrantError as error:
            raise await self._door.unreadable(request, error) from error

    async def _note_listed(self) -> None:
        if self._listing.current:
            try:
                await self._door.listed(self._listing.definitions())
            except remit.RemitError as error:  # the listing itself passes; calls will say what is wrong
                logger.error("the tools that the server lists could not be recorded: %s", error)

    async def _ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """A request of the proxy's own to the server."""
        own = new_id("remit")
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._own[request_key(own)] = waiting
        await self._upstream.send(encode({"jsonrpc": "2.0", "id": own, "method": method, "params": dict(params)}))
        return await waiting

    def _reply(self, frame: Frame, flight: Flight, reply: Mapping[str, Any]) -> bytes:
        for ended in ENDED:
            if ended in reply:
                return encode(self._unanswered(frame, str(reply[ended]), ran=ended != "not_run"))
        if flight.raw is not None:
            return flight.raw
        return encode({"jsonrpc": "2.0", "id": frame.message["id"], **reply})

    def _unanswered(self, frame: Frame, why: str, *, ran: bool) -> dict[str, Any]:
        text = f"{why}; " + ("nobody can say whether it ran. Do not retry the same call." if ran else "it did not run.")
        if frame.method != "tools/call":
            return _error(frame.message["id"], INTERNAL_ERROR, text)
        result = error_result(text, modern=is_modern(frame.params))
        return {"jsonrpc": "2.0", "id": frame.message["id"], "result": result}

    async def _denied(self, frame: Frame, error: remit.RemitError) -> None:
        if not isinstance(error, remit.Denied):
            logger.error("%s could not be governed: %s", frame.method, error)
        if frame.method == "tools/call":
            result = denied_result(error, modern=is_modern(frame.params))
            await self._to_client(encode({"jsonrpc": "2.0", "id": frame.message["id"], "result": result}))
        else:
            await self._refuse(frame, DENIED, str(error), {DENIAL_META: denial(error)})

    # -- from the server

    async def _from_server(self) -> None:
        async for line in self._upstream.lines():
            frame = parse_server(line)
            if frame is None:
                logger.warning("dropped what the server printed beside the protocol: %r", line[:200])
            elif frame.kind == "response":
                await self._server_response(frame, line)
            else:
                if frame.method == "notifications/tools/list_changed":
                    self._listing.changed()
                await self._to_client(_line(line))

    def _echoed(self, id: Any) -> str:  # noqa: A002
        """The open request that an answer is for. Some servers answer 7 with "7"."""
        key = request_key(id)
        if key not in self._outstanding and isinstance(id, str) and id in self._outstanding:
            return id
        return key

    async def _server_response(self, frame: Frame, line: bytes) -> None:
        key = self._echoed(frame.message.get("id"))
        own = self._own.pop(key, None)
        if own is not None:
            own.set_result(frame.message)
            return
        if frame.message.get("id") is not None and key not in self._outstanding:
            logger.warning("dropped an answer to a request that the server was not sent: id %s", key[:100])
            return
        asked_for = self._outstanding.pop(key, None)
        flight = self._flights.get(key)
        if flight is not None:
            reply: dict[str, Any] = {name: frame.message[name] for name in ("result", "error") if name in frame.message}
            flight.answer(reply, _line(line))
            return
        if asked_for is not None and asked_for.method == "tools/list":
            self._listing.absorb(asked_for.params, frame.message.get("result"))
            await self._note_listed()
        await self._to_client(_line(line))


def read_reply(reply: Any) -> tuple[Status, str | None]:
    """What a JSON-RPC answer says of a call."""
    for ended, status in ENDED.items():
        if ended in reply:
            return status, str(reply[ended])
    error = reply.get("error")
    if error is not None:
        return "tool_error", str(error.get("message") if isinstance(error, Mapping) else error)
    return read_result(reply.get("result"))


def _task_status(reply: Mapping[str, Any]) -> tuple[Status, str | None]:
    result = reply.get("result")
    return read_task_status(result) if isinstance(result, Mapping) else ("pending", None)


def _meant(method: str) -> str:
    return method.casefold().strip().strip("/")


def _line(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _error(id: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:  # noqa: A002
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return {"jsonrpc": "2.0", "id": id, "error": error}
