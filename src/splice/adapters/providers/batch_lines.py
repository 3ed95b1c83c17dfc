"""Results of a batch as they are downloaded: line by line, however large they are together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

from splice.adapters.providers.answers import HttpFault
from splice.adapters.providers.http import Http
from splice.adapters.providers.refusals import Refusals
from splice.core.errors import RouteError, SpliceError

ASK_S = 60.0
"""For a question about a batch."""
SEND_S = 600.0
"""For the requests of a batch on their way: some ten megabytes over a slow line."""
RESULTS_S = 3600.0
"""For the results of a batch on their way."""
RESULTS_LIMIT = 4 << 30
"""Bytes of the results of one batch, at most."""

_ERROR_LIMIT = 256 * 1024
_LINE_LIMIT = 64 << 20
_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")


def is_id(text: object) -> bool:
    """Whether it can be an id of the provider's, and stand in a path."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None and ".." not in text


async def lines_of(http: Http, path: str, where: str, refusals: Refusals) -> AsyncIterator[bytes]:
    """The lines of what is at a path.

    Raises:
        RouteError: It is not there, or broke off in its middle.
    """
    rest = b""
    try:
        stream = await http.fetch(path, RESULTS_S)
        try:
            if stream.status != 200:
                said = await stream.rest(_ERROR_LIMIT)
                raise status_error(refusals, where, stream.status, stream.headers, said)
            stream.watch(ASK_S)
            while (part := await stream.next()) is not None:
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line
                if len(rest) > _LINE_LIMIT:
                    raise refusals.bad(where, f"a line of more than {_LINE_LIMIT} bytes")
        finally:
            stream.hang_up()
    except HttpFault as fault:
        raise refusals.fault(where, fault, RESULTS_S) from None
    if rest.strip():
        yield rest


def status_error(
    refusals: Refusals, where: str, status: int, headers: Mapping[str, str], said: bytes
) -> SpliceError:
    """The error for a status other than 200; its cost is unknown where it may have worked."""
    error = refusals.status(where, status, headers, said, rejects=False)
    if isinstance(error, RouteError) and (status >= 500 or status in (408, 409, 425)):
        error.cost_nano = None
    return error
