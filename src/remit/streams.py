"""Results that arrive bit by bit: the call has ended when the stream has, not when the tool returned it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import TracebackType
from typing import Any

from remit.calls import Status
from remit.outcomes import STOPPED, error_text

Finish = Callable[[Status, str | None], None]
AsyncFinish = Callable[[Status, str | None], Awaitable[None]]

ABANDONED = "the stream was left before its end"


class Stream(Iterator[Any]):
    """A generator that a tool returned. Its outcome is written once: at its end, its failure, or when it is left."""

    def __init__(self, inner: Generator[Any, Any, Any], finish: Finish) -> None:
        self._inner = inner
        self._finish: Finish | None = finish

    def _end(self, status: Status, detail: str | None = None) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(status, detail)

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """As a generator's `send`."""
        try:
            return self._inner.send(value)
        except StopIteration:
            self._end("ok")
            raise
        except BaseException as error:
            self._end(*_failure(error))
            raise

    def close(self) -> None:
        """Leave the stream: what had not been produced never will be."""
        try:
            self._inner.close()
        except BaseException as error:
            self._end(*_failure(error))
            raise
        self._end("cancelled", ABANDONED)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_finish", None) is not None:
            self.close()


class AsyncStream(AsyncIterator[Any]):
    """As `Stream`, for an async generator."""

    def __init__(self, inner: AsyncGenerator[Any, Any], finish: AsyncFinish, finish_now: Finish) -> None:
        self._inner = inner
        self._finish: AsyncFinish | None = finish
        self._finish_now = finish_now

    async def _end(self, status: Status, detail: str | None = None) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            await finish(status, detail)

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            await self._end("ok")
            raise
        except BaseException as error:
            await self._end(*_failure(error))
            raise

    async def aclose(self) -> None:
        """Leave the stream."""
        try:
            await self._inner.aclose()
        except BaseException as error:
            await self._end(*_failure(error))
            raise
        await self._end("cancelled", ABANDONED)

    def __del__(self) -> None:
        if getattr(self, "_finish", None) is not None:
            self._finish = None
            self._finish_now("cancelled", ABANDONED)  # no loop may be running any more: write it from here


def _failure(error: BaseException) -> tuple[Status, str]:
    return ("cancelled" if isinstance(error, STOPPED) else "exception"), error_text(error)
