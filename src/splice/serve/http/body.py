"""The body of a request, within bounds of size and of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from splice.core.errors import BodyTooLarge, MalformedBody

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Limits(msgspec.Struct, frozen=True):
    """What one request may take: bytes of its body, and seconds for the body to arrive."""

    body_bytes: int
    body_seconds: float


class ClientGone(Exception):
    """The client went away before its request was whole."""


class BodyReader:
    """Reads bodies; one timer watches all the slow senders."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def read(
        self,
        where: str,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        limit: int,
        setting: str = "server.max_body_bytes",
    ) -> bytes:
        """The whole body; `setting` is where its limit comes from.

        Raises:
            BodyTooLarge: It is longer than `limit` bytes, or says that it will be.
            MalformedBody: It did not arrive in time.
            ClientGone: The client went away.
        """
        length = headers.get(b"content-length")
        if length is not None and not (length.isdigit() and int(length[:13]) <= limit):
            raise _too_large(where, length.decode("latin-1")[:40] + " bytes", limit, setting)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an ASGI application runs in a task")
        self._reading[task] = time.monotonic()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)
        try:
            return await _collected(where, receive, limit, setting)
        except asyncio.CancelledError:
            if task in self._reading:  # not by us
                raise
            task.uncancel()
            raise MalformedBody(
                f"{where}.input",
                got=f"no whole body within {self._seconds:g} s",
                promised="the bytes that the headers announced",
                mend="send them, or fewer",
            ) from None
        finally:
            self._reading.pop(task, None)

    def _sweep(self) -> None:
        """One timer for all slow senders: a timer a request would cost each of the fast ones."""
        overdue = time.monotonic() - self._seconds
        for task in [task for task, since in self._reading.items() if since < overdue]:
            del self._reading[task]
            task.cancel()
        self._sweeper = None
        if self._reading:
            self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep)


async def _collected(where: str, receive: Receive, limit: int, setting: str) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            raise _too_large(where, f"more than {size} bytes", limit, setting)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > limit:
        raise _too_large(where, f"{size} bytes", limit, setting)
    return b"".join(chunks)


def _too_large(where: str, got: str, limit: int, setting: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"{where}.input",
        got=got,
        promised=f"at most {limit} bytes",
        mend=f"send less, or raise {setting}",
    )
