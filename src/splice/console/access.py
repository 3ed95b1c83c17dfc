"""Who visits: the key of a request's header, or of the cookie that the sign-in form set."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from splice.core.access import Principal
from splice.core.errors import NotAllowed, UnknownKey
from splice.engine.keyring import Keyring
from splice.serve.mcp.guard import check_host
from splice.serve.tokens import token_of

COOKIE = "splice_key"
THEME = "splice_theme"
_THEMES = ("light", "dark")
_LONGEST_FORM = 4096


def headers_of(request: Request) -> dict[bytes, bytes]:
    """The headers by their names in lower case."""
    return dict(request.scope["headers"])


def address_of(request: Request) -> str:
    """The IP address that asks."""
    return request.client.host if request.client else ""


def cookie(request: Request, name: str) -> str:
    """What a cookie says; empty where there is none, or none that can be read."""
    read: SimpleCookie = SimpleCookie()
    try:
        read.load(request.headers.get("cookie", "")[:8192])
    except CookieError:
        return ""
    return read[name].value if name in read else ""


def theme_of(request: Request) -> str:
    """`light`, `dark`, or `auto`: as the system has it."""
    theme = cookie(request, THEME)
    return theme if theme in _THEMES else "auto"


class Visitors(Protocol):
    """People who signed in."""

    async def visitor(self, request: Request) -> Principal | None:
        """Who visits, by his session; None where he has none that counts."""
        ...


async def principal_of(
    request: Request, keyring: Keyring, hosts: frozenset[str], people: Visitors | None = None
) -> Principal:
    """Who asks: a key, a person who signed in, or anyone where nobody is asked who he is.

    Where people sign in, nobody is let in who does not say who he is, on this machine either.

    `name` is what the audit log calls him. What he may do says `principal.may(permission,
    integration)`: ask it before every action, and raise `NotAllowed`.

    Raises:
        UnknownKey: A key or a sign-in is asked for, and none that is good was shown.
        NotAllowed: Nobody is asked for a key, and the page was called by a foreign name.
    """
    headers = headers_of(request)
    token = token_of(headers)
    if people is not None and not token and (person := await people.visitor(request)):
        return person
    address = address_of(request)
    principal = await keyring.asker(token or cookie(request, COOKIE), address)
    check_host(headers, principal, hosts, "console")
    if people is not None and principal.anonymous:
        raise UnknownKey("console", got="nobody who signed in", promised="somebody who did")
    return principal


def check_action(request: Request) -> None:
    """Passes a request that changes something if no foreign page made it; call it first in a POST.

    What a browser sends by itself (cookie, client certificate, its place in this network) proves
    who he is, not that he meant it. Browsers say where a request comes from: by `Sec-Fetch-Site`,
    and by `Origin`, whose host and port must be those that were called; a page of another port of
    this machine is foreign, too. A program sends neither: it may, as long as it sends no cookie.

    Raises:
        NotAllowed: It came from elsewhere, or a browser does not say where it came from.
    """
    headers = headers_of(request)
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if site is not None:
        passes = site in (b"same-origin", b"none")
    elif origin is not None:
        passes = urlsplit(origin.decode("latin-1")).netloc == request.headers.get("host", "")
    else:
        passes = b"cookie" not in headers
    if not passes:
        raise NotAllowed(
            "console.origin",
            got="a form of another page",
            promised="one of this console",
            mend="open the console, and do it there",
        )


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a small form; empty where it is none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return {}
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def key_cookie(request: Request, base: str, token: str) -> str:
    """The header that keeps a key until the browser is closed; an empty one ends it.

    No script can read it, and no other site's page makes the browser send it.
    """
    secure = is_secure(request)
    end = "" if token else "; Max-Age=0"
    return (
        f"{COOKIE}={token}; Path={base}; HttpOnly; SameSite=Strict{end}"
        f"{'; Secure' if secure else ''}"
    )


def is_secure(request: Request) -> bool:
    """Whether the browser came by TLS, to this server or to a proxy before it."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"


def next_of(text: str, base: str) -> str:
    """Where to go after the sign-in: a page of this console, whatever was asked."""
    inside = text == base or text.startswith((f"{base}/", f"{base}?"))
    plain = text.isascii() and text.isprintable() and "\\" not in text and "//" not in text
    return text if inside and plain and len(text) < 2000 else base
