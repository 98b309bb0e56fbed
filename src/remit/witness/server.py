"""A witness over HTTP: starlette for the addresses, uvicorn to serve them."""

from __future__ import annotations

import socket
from typing import Final

from remit.errors import EvidenceUnavailable, UsageError
from remit.witness.wire import MAX_BODY, SIZE_TYPE
from remit.witness.witness import Refused, Witness, logger

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise UsageError("a witness needs starlette and uvicorn: pip install 'remit[witness]'") from error

IDLE: Final = 75
"""Seconds for which a log may keep its connection open between two heads."""


def application(witness: Witness) -> Starlette:
    """The ASGI application of a witness."""

    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    return PlainTextResponse(f"more than {MAX_BODY} bytes\n", status_code=400)
        except ClientDisconnect:
            return PlainTextResponse("the request ended early\n", status_code=400)
        return await run_in_threadpool(_answer, witness, bytes(body))

    async def checkpoint(request: Request) -> Response:
        note = await run_in_threadpool(witness.checkpoint, request.path_params["place"])
        if note is None:
            return PlainTextResponse("no checkpoint of that log was cosigned here\n", status_code=404)
        return PlainTextResponse(note)

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{place}/checkpoint", checkpoint, methods=["GET"]),
        ]
    )


def _answer(witness: Witness, body: bytes) -> Response:
    try:
        return PlainTextResponse(witness.add_checkpoint(body))
    except Refused as refused:
        if refused.known is not None:
            return Response(f"{refused.known}\n", status_code=409, headers={"content-type": SIZE_TYPE})
        return PlainTextResponse(f"{refused}\n", status_code=refused.status)
    except EvidenceUnavailable as unavailable:
        logger.error("%s", unavailable)
        return PlainTextResponse("the witness cannot persist\n", status_code=503)


def listen(address: str) -> socket.socket:
    """A listening socket at `HOST:PORT`; port 0 takes a free one. Raises `UsageError`."""
    host, _, port = address.rpartition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"cannot listen at {address!r}: {error}; expected HOST:PORT") from error


def url_of(listening: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(witness: Witness, listening: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM, then finish what was begun."""
    config = uvicorn.Config(
        application(witness),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
