"""Acting: a form of a page is read, what it asks for is done, and the next page named."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from starlette.requests import Request

from splice.console import access
from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.core.audit import Origin
from splice.core.errors import BodyTooLarge, MalformedBody

LONGEST = 512 * 1024
_MOST_FIELDS = 300
_HOST = socket.gethostname()

Form = Mapping[str, str]
Act = Callable[[Room, Visit, Mapping[str, str], Form], "str | Page"]
"""Does it; gives the path of the next page below `/console`, or the page that says what is wrong.
"""


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form, the empty ones too.

    Raises:
        BodyTooLarge: It is longer than any form of ours.
        MalformedBody: It is none.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise BodyTooLarge("console.form", promised=f"at most {LONGEST} bytes")
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except ValueError:
        raise MalformedBody(
            "console.form", got="what is no form", mend="open the page again"
        ) from None
    return {name: values[-1] for name, values in fields.items()}


def origin_of(request: Request) -> Origin:
    """From where a form came, as the audit log keeps it."""
    root: str = request.scope.get("root_path", "")
    path = request.url.path.removeprefix(root)
    return Origin("console", access.address_of(request), _HOST, f"POST {path[:200]}")
