"""The console's application: its routes, who may come in, and what every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from splice.console import access
from splice.console.acting import Act, fields_of, origin_of
from splice.console.actions import ACTIONS
from splice.console.assets import Asset, Assets
from splice.console.desk import ROOT, ConsoleDesk, Options, Visit
from splice.console.live import Tail
from splice.console.making import BUNDLE, SPECS
from splice.console.pages import PAGES
from splice.console.rendering import environment
from splice.console.room import Download, Figures, Page, Room
from splice.console.signing import SignIn
from splice.console.slowing import Slowing
from splice.console.span import span_of
from splice.core.access import ANYONE, Permission, Principal
from splice.core.audit import acting
from splice.core.errors import NotAllowed, RateLimited, RequestError, SpliceError, UnknownKey
from splice.serve.http.problems import status_of

log = logging.getLogger("splice.console")

_LOOK_S = 2.0
"""How often whoever watches calls is looked at anew; not where nothing happens."""

_READERS = 2
"""Pages that are made at once: calls are answered by the same process, and come first."""

# Nothing runs in a page but our own files: whatever a call holds, it is text.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-store",
}
_FOR_GOOD = {**_HEADERS, "cache-control": "public, max-age=31536000, immutable"}

_MADE = {"vega": BUNDLE, "charts": SPECS}

Make = Callable[[Room, Visit, Mapping[str, str]], Page | Download | Figures]


class Site:
    """The console: an ASGI application for everything under `/console`.

    Args:
        desk: The process whose calls are shown.
        options: How it is served.
    """

    def __init__(self, desk: ConsoleDesk, options: Options) -> None:
        self._desk = desk
        self._options = options
        self._hosts = frozenset(host.lower() for host in options.hosts)
        self._assets = Assets(Path(options.cache))
        self._templates = environment(self._assets)
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="console")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="console-beside")
        self._room = Room(desk, options, self._beside)
        self._tail = Tail(desk, self._threads)
        self._slowing = Slowing()
        self._signing = _signing(desk, options, self._hosts)
        self._app = self._routed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._app(scope, receive, send)

    def close(self) -> None:
        """Let go of the threads that make pages."""
        for threads in (self._threads, self._beside):
            threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, make: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, make, *arguments)

    async def _visit(self, request: Request, *, known: bool = True) -> Visit:
        principal = ANYONE
        if known:
            keyring = self._desk.engine.keyring
            principal = await access.principal_of(request, keyring, self._hosts, self._signing)
            _has_a_role(principal)
        now_us = time.time_ns() // 1000
        query = dict(request.query_params)
        root: str = request.scope.get("root_path", "")
        path = request.url.path.removeprefix(root + ROOT)
        span = span_of(query if known else {}, now_us)
        theme = access.theme_of(request)
        return Visit(principal, root + ROOT, path, query, span, now_us, theme)

    def _html(self, page: Page, visit: Visit, status: int = 200) -> Response:
        text = self._templates.get_template(page.template).render(
            visit=visit,
            link=visit.link,
            plain=visit.plain,
            currency=self._options.currency,
            required=self._desk.engine.keyring.required or self._signing is not None,
            provider=self._options.provider,
            **page.values,
        )
        return Response(text, status, _HEADERS, media_type="text/html")

    def page(self, make: Make) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a page."""

        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)

            def made() -> Response | Download:
                found = make(self._room, visit, request.path_params)
                if isinstance(found, Figures):
                    body = msgspec.json.encode(found.shown)
                    return Response(body, 200, _HEADERS, media_type="application/json")
                return found if isinstance(found, Download) else self._html(found, visit)

            answer = await self._run(made)
            if isinstance(answer, Download):
                headers = {**_HEADERS, **answer.headers}
                return StreamingResponse(answer.pieces, 200, headers, answer.media_type)
            return answer

        return endpoint

    def action(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of what a form does."""

        async def endpoint(request: Request) -> Response:
            access.check_action(request)
            visit = await self._visit(request)
            form = await fields_of(request)

            def done() -> Response:
                with acting(origin_of(request)):
                    found = act(self._room, visit, request.path_params, form)
                if isinstance(found, Page):
                    return self._html(found, visit, 422)
                return RedirectResponse(visit.base + found, 303, _HEADERS)

            return await self._run(done)

        return endpoint

    async def static(self, request: Request) -> Response:
        """A file of the console, for good; what has to be made first is under its bare name."""
        path: str = request.path_params["path"]
        found = self._assets.find(path)
        if found is None and (name := _MADE.get(path.partition("-")[0].partition(".")[0])):
            made: Asset = await self._make(name)
            if path == name:
                root: str = request.scope.get("root_path", "")
                return RedirectResponse(f"{root}{ROOT}/static/{made.path}", 302, _HEADERS)
            found = made if made.path == path else None
        if found is None:
            raise HTTPException(404)
        return Response(found.body, 200, _FOR_GOOD, media_type=found.media_type)

    def _make(self, name: str) -> Awaitable[Asset]:
        # In a thread of its own: it takes seconds, and pages go on meanwhile.
        return asyncio.to_thread(self._assets.made, name)

    async def sign_in(self, request: Request) -> Response:
        """The form for a key, and what it sends; people go to the provider from here."""
        visit = await self._visit(request, known=False)
        wrong = ""
        after = access.next_of(request.query_params.get("next", ""), visit.base)
        if request.method == "POST":
            access.check_action(request)
            token = (await access.form_of(request)).get("key", "").strip()
            wrong = self._wrong_key(token, access.address_of(request))
            if not wrong:
                cookie = access.key_cookie(request, visit.base, token)
                return RedirectResponse(after, 303, {**_HEADERS, "set-cookie": cookie})
        values = {"wrong": wrong, "after": after}
        status = 401 if wrong else 200
        return self._html(Page("sign_in.html", "Sign in", values), visit, status)

    def _wrong_key(self, token: str, address: str) -> str:
        """What is wrong with a key that somebody shows; empty where it opens the console.

        Raises:
            RateLimited: He showed wrong ones before, and must wait.
        """
        self._slowing.check(address)
        found, wrong = ANYONE, "a key that is not known here"
        try:
            found = self._desk.engine.keyring.principal(token, address)
        except UnknownKey as error:
            wrong = error.got
        if found.key is None or not token:
            self._slowing.failed(address)
            log.warning("a sign-in with a key from %s was refused: %s", address, wrong)
            return wrong
        self._slowing.passed(address)
        return "" if found.may_somewhere(Permission.SEE) else "a key that has no role here"

    async def to_provider(self, request: Request) -> Response:
        """Sends somebody to the identity provider."""
        if self._signing is None:
            raise HTTPException(404)
        visit = await self._visit(request, known=False)
        after = access.next_of(request.query_params.get("next", ""), visit.base)
        target, cookie = await self._signing.begun(request, visit.base, after)
        return RedirectResponse(target, 303, {**_HEADERS, "set-cookie": cookie})

    async def from_provider(self, request: Request) -> Response:
        """Lets in who comes back from there."""
        if self._signing is None:
            raise HTTPException(404)
        visit = await self._visit(request, known=False)
        finished = await self._signing.finished(request, visit.base)
        answer = RedirectResponse(finished.after, 303, _HEADERS)
        for cookie in (*finished.cookies, access.key_cookie(request, visit.base, "")):
            answer.headers.append("set-cookie", cookie)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Ends the session, here and in the browser."""
        access.check_action(request)
        visit = await self._visit(request, known=False)
        answer = RedirectResponse(f"{visit.base}/sign-in", 303, _HEADERS)
        answer.headers.append("set-cookie", access.key_cookie(request, visit.base, ""))
        if self._signing is not None:
            answer.headers.append("set-cookie", await self._signing.ended(request, visit.base))
        return answer

    async def tail(self, request: Request) -> Response:
        """Calls as they come, by server-sent events."""
        visit = await self._visit(request)
        headers = {**_HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        events = self._while_let_in(request, visit, self._tail.events(visit))
        return StreamingResponse(events, 200, headers, "text/event-stream")

    async def _while_let_in(
        self, request: Request, visit: Visit, events: AsyncGenerator[bytes]
    ) -> AsyncGenerator[bytes]:
        """A stream ends when its visitor signs out, or is no longer who he was when it began."""
        looked = time.monotonic()
        async with contextlib.aclosing(events):
            async for event in events:
                if time.monotonic() - looked > _LOOK_S:
                    looked = time.monotonic()
                    try:
                        now = await self._visit(request)
                    except SpliceError:
                        return
                    if now.principal != visit.principal:
                        return
                yield event

    async def wrong(self, request: Request, error: Exception) -> Response:
        """What went wrong, on a page of its own."""
        if isinstance(error, UnknownKey):
            here = request.url.path
            if "text/html" in request.headers.get("accept", "") and request.method == "GET":
                query = f"?{request.url.query}" if request.url.query else ""
                root: str = request.scope.get("root_path", "")
                visit = Visit(ANYONE, root + ROOT, "", {}, span_of({}, 0), 0)
                target = visit.plain("/sign-in", next=here + query)
                return RedirectResponse(target, 303, _HEADERS)
        visit = await self._visit(request, known=False)
        if isinstance(error, HTTPException):
            status = error.status_code
            got = "a page that is not here" if status == 404 else f"a {request.method}"
            error = RequestError(request.url.path[:200], got=got, mend="begin at the portfolio")
        elif isinstance(error, NotAllowed):
            status = 403
        elif isinstance(error, SpliceError):
            status = status_of(error)
        else:
            log.error("a page could not be made: %s", request.url.path, exc_info=error)
            error = SpliceError(
                request.url.path[:200], got="an error that nobody foresaw",
                mend="the log of the server tells which",
            )  # fmt: skip
            status = 500
        values = {"error": error, "status": status}
        answer = self._html(Page("wrong.html", "Something is wrong", values), visit, status)
        if isinstance(error, RateLimited):
            answer.headers["retry-after"] = str(math.ceil(error.retry_after))
        return answer

    def _routed(self) -> Starlette:
        routes = [
            Route(f"{ROOT}/static/{{path}}", self.static),
            Route(f"{ROOT}/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route(f"{ROOT}/sign-in/start", self.to_provider),
            Route(f"{ROOT}/sign-in/back", self.from_provider),
            Route(f"{ROOT}/sign-out", self.sign_out, methods=["POST"]),
            Route(f"{ROOT}/live/events", self.tail),
            *(Route(ROOT + path, self.page(make)) for path, make in PAGES.items()),
            *(Route(ROOT + p, self.action(act), methods=["POST"]) for p, act in ACTIONS.items()),
        ]
        wrong = dict.fromkeys((SpliceError, HTTPException, Exception), self.wrong)
        return Starlette(routes=routes, exception_handlers=wrong)


def _signing(desk: ConsoleDesk, options: Options, hosts: frozenset[str]) -> SignIn | None:
    if desk.identity is None or options.sign_in is None:
        return None
    return SignIn(desk.identity, desk.shelves.people, options.sign_in, hosts)


def _has_a_role(principal: Principal) -> None:
    """Passes whoever may see something here.

    Raises:
        NotAllowed: He has no role in any integration.
    """
    if principal.may_somewhere(Permission.SEE):
        return
    key = principal.key
    who = principal.caller.partition(":")[2] if key is None else key.name
    verb = "people" if key is None else "keys"
    raise NotAllowed(
        "console", got=f"{who}, who has no role here", promised="a viewer, or more",
        mend=f"have it granted: splice {verb} grant {who} --role viewer",
    )  # fmt: skip
