"""Acting: a form of a page is read, what it asks for is done, and the next page named."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from starlette.requests import Request

from splice.console import access
from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.control.oversight import name_of
from splice.core.access import Permission
from splice.core.audit import Origin
from splice.core.errors import BodyTooLarge, InputMismatch, MalformedBody, NotAllowed

LONGEST = 512 * 1024
_MOST_FIELDS = 300
_LONGEST_WHY = 500
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


def why_of(form: Form) -> str:
    """The reason that a form gives.

    Raises:
        InputMismatch: It gives none, or one that nobody will read.
    """
    why = form.get("why", "").strip()
    if not 0 < len(why) <= _LONGEST_WHY:
        raise InputMismatch(
            "why", got=f"{len(why)} characters", promised=f"a reason of 1 to {_LONGEST_WHY}",
            mend="say why: who looks at it later must understand it",
        )  # fmt: skip
    return why


def must_operate(visit: Visit, integration: str) -> None:
    """Passes who may operate an integration.

    Raises:
        NotAllowed: He may not.
    """
    if not visit.principal.may(Permission.OPERATE, integration):
        raise NotAllowed(
            integration, got=f"{name_of(visit.principal)}, who may not operate it",
            promised="the role operator", mend="ask one who has it",
        )  # fmt: skip


def origin_of(request: Request) -> Origin:
    """From where a form came, as the audit log keeps it."""
    root: str = request.scope.get("root_path", "")
    path = request.url.path.removeprefix(root)
    return Origin("console", access.address_of(request), _HOST, f"POST {path[:200]}")
