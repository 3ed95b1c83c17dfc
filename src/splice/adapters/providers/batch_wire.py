"""What batch endpoints share: questions with short answers, and results line by line."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec

from splice.adapters.net.answers import HttpFault, HttpReply
from splice.adapters.net.http import Http
from splice.adapters.providers.refusals import Refusals
from splice.core.errors import RouteError, SpliceError

T = TypeVar("T")

RESULTS_LIMIT = 4 << 30
"""Bytes of the results of one batch, at most."""
SKEW_S = 600.0
"""How far the provider's clock may be behind ours."""
PAGES_MOST = 1000
"""Of a list of batches; a provider that goes on and on is not believed."""

_ASK_S = 60.0
_SEND_S = 600.0  # some ten megabytes over a slow line
_RESULTS_S = 3600.0
_ERROR_LIMIT = 256 * 1024
_LINE_LIMIT = 64 << 20
_LARGE = 64 * 1024
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:-]{0,199}")


class BatchWire:
    """Speaks to one provider's batch endpoint.

    Args:
        name: The provider's name.
        http: Reaches it.
        refusals: Turns its failures into ours.
    """

    def __init__(self, name: str, http: Http, refusals: Refusals) -> None:
        self.where = f"{name}.batches"
        self.refusals = refusals
        self._http = http

    def checked(self, given: str) -> str:
        """An id of the provider's, which can stand in a path.

        Raises:
            ProviderFailed: It cannot.
        """
        if not _ID.fullmatch(given):
            raise self.refusals.bad(self.where, f"{given[:60]!r} as an id")
        return given

    async def get(self, path: str, kind: type[T]) -> T:
        """The answer to a GET.

        Raises:
            RouteError: There was none that can be used.
        """
        try:
            reply = await self._http.get(path, _ASK_S)
        except HttpFault as fault:
            raise self.refusals.fault(self.where, fault, _ASK_S) from None
        return self._read(reply, kind)

    async def post(
        self, path: str, body: bytes, kind: type[T], content_type: str = "application/json"
    ) -> T:
        """The answer to a POST, which is sent once.

        Raises:
            RouteError: There was none that can be used; `cost_nano` is None where the provider may
                have done what it was asked all the same.
        """
        timeout_s = _SEND_S if len(body) > _LARGE else _ASK_S
        try:
            reply = await self._http.post_once(path, body, content_type, timeout_s)
        except HttpFault as fault:
            raise self.refusals.fault(self.where, fault, timeout_s) from None
        return self._read(reply, kind)

    async def lines(self, path: str) -> AsyncGenerator[bytes]:
        """The lines of what is at a path.

        Raises:
            RouteError: It is not there, or broke off in its middle.
        """
        rest = b""
        try:
            stream = await self._http.fetch(path, _RESULTS_S)
            try:
                if stream.status != 200:
                    said = await stream.rest(_ERROR_LIMIT)
                    raise self._status_error(HttpReply(stream.status, [], said))
                stream.watch(_ASK_S)
                while (part := await stream.next()) is not None:
                    *whole, rest = (rest + part).split(b"\n")
                    for line in whole:
                        if line.strip():
                            yield line
                    if len(rest) > _LINE_LIMIT:
                        raise self.refusals.bad(self.where, f"a line of over {_LINE_LIMIT} bytes")
            finally:
                stream.hang_up()
        except HttpFault as fault:
            raise self.refusals.fault(self.where, fault, _RESULTS_S) from None
        if rest.strip():
            yield rest

    async def close(self) -> None:
        """Close the idle connections."""
        await self._http.close()

    def _read(self, reply: HttpReply, kind: type[T]) -> T:
        if reply.status != 200:
            raise self._status_error(reply)
        try:
            return msgspec.json.decode(self.refusals.scrub(reply.body), type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            got = f"status 200 with {len(reply.body)} bytes: {error}"
            mend = "check that base_url leads to the API itself"
            raise self.refusals.bad(self.where, got, "a batch or a file", mend) from None

    def _status_error(self, reply: HttpReply) -> SpliceError:
        said = self.refusals.scrub(reply.body)
        status = reply.status
        error = self.refusals.status(self.where, status, reply.headers, said, rejects=False)
        if isinstance(error, RouteError) and (status >= 500 or status in (408, 409, 425)):
            error.cost_nano = None
        return error
