"""Every path but the call itself: reading calls, outcomes, health, metrics, OpenAPI."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from splice.core.access import ANYONE, Permission, Principal
from splice.core.call import Outcome, Status
from splice.core.errors import (
    BodyTooLarge,
    InputMismatch,
    MalformedBody,
    NotAllowed,
    RequestError,
    SpliceError,
    UnknownCall,
    UnsupportedMediaType,
)
from splice.core.ids import id_bytes, id_text
from splice.declare.codec import codec
from splice.engine import observe
from splice.engine.exposition import prometheus_text
from splice.ports.stores import CallFilter
from splice.serve.http.desk import Desk, OutcomeIn, OutcomesTaken, call_of, iso
from splice.serve.http.events_page import EventsPage
from splice.serve.http.openapi import document
from splice.serve.http.problems import PROBLEM_JSON, ProblemDetails, problem, status_of
from splice.serve.http.reviews_page import ReviewsPage
from splice.serve.http.subjects_page import SubjectsPage

_MAX_OUTCOMES = 10_000
GUARDED = ("/metrics", "/openapi.json")
"""What is for whoever may see integrations, where the surface is guarded."""

_outcomes = codec(OutcomeIn | list[OutcomeIn])


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _may_see(request: Request, integration: str) -> bool:
    """Whether whoever asks may know of an integration: he calls it, or has a role there."""
    principal: Principal = request.scope.get("splice.principal", ANYONE)
    return principal.may_call(integration) or principal.may(Permission.SEE, integration)


def _may_tell(request: Request, integration: str) -> bool:
    """Whether whoever asks may say what became of an integration's calls."""
    principal: Principal = request.scope.get("splice.principal", ANYONE)
    return principal.may_call(integration)


class _Pages:
    def __init__(self, desk: Desk, max_body: int, body_seconds: float, currency: str) -> None:
        self._desk = desk
        self._max_body = max_body
        self._body_seconds = body_seconds
        self._currency = currency

    def _may_read(self, request: Request, integration: str, caller: str) -> bool:
        principal: Principal = request.scope.get("splice.principal", ANYONE)
        return self._desk.engine.keyring.may_read(principal, integration, caller)

    async def healthz(self, _: Request) -> Response:
        """The process is alive; says nothing of what it depends on."""
        return _json({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """Whether calls are answered as they should be, and what is in the way."""
        wrong = self._desk.not_ready()
        status = "ready" if not wrong else "not ready"
        if request.scope.get("splice.guarded"):  # a load balancer need not know more
            return _json({"status": status}, 200 if not wrong else 503)
        body = {"status": status, "not_ready": wrong, "degraded": self._desk.degraded()}
        return _json(body, 200 if not wrong else 503)

    async def metrics(self, request: Request) -> Response:
        """All metrics of all workers in Prometheus text."""
        principal: Principal = request.scope.get("splice.principal", ANYONE)
        if not principal.may(Permission.SEE, "*"):
            raise NotAllowed(
                "metrics", got="a key that may not see every integration",
                promised="the role viewer", mend="splice keys grant KEY --role viewer",
            )  # fmt: skip
        text = prometheus_text(observe.merge(self._desk.snapshots()))
        return Response(text, media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document of what is live now."""
        manifests = [
            line.release.manifest
            for line in self._desk.engine.lines.values()
            if _may_see(request, line.name)
        ]
        return _json(document(manifests, request.scope.get("root_path", "")))

    async def integrations(self, request: Request) -> Response:
        """What is live: name, purpose, release, risk, routes."""
        lines = sorted(self._desk.engine.lines.values(), key=lambda one: one.name)
        lines = [line for line in lines if _may_see(request, line.name)]
        shown = [
            {
                "name": line.name,
                "purpose": line.release.manifest.purpose,
                "release": line.release.number,
                "risk": line.release.manifest.risk,
                "deadline_ms": line.deadline_s * 1000,
                "routes": [
                    {
                        "route": step.route.label,
                        "version": step.route.version,
                        "available": not (step.unavailable or step.withdrawn),
                    }
                    for step in line.steps
                ],
                "stopped": line.stopped or line.ended or None,
            }
            for line in lines
        ]
        return _json({"integrations": shown})

    async def call(self, request: Request) -> Response:
        """One recorded call with its outcomes."""
        call_id = request.path_params["call_id"]
        try:
            call_id = id_text(id_bytes(call_id))
        except ValueError:
            raise UnknownCall(
                call_id[:80], got="something that is not a call id", promised="a UUID"
            ) from None

        def read() -> Any:
            record = self._desk.records.get(call_id)
            if record is None:
                return None
            return call_of(record, self._desk.outcomes.outcomes_of(record), self._currency)

        shown = await asyncio.to_thread(read)
        if shown is None or not self._may_read(request, shown.integration, shown.caller):
            raise UnknownCall(
                call_id,
                got="no such call in the ledger",
                mend="a call that just ended is written within ledger.flush_interval_ms",
            )
        return _json(shown)

    async def calls(self, request: Request) -> Response:
        """Recorded calls, newest first, without payloads."""
        wanted = _filter(request.query_params.multi_items())
        records = await asyncio.to_thread(self._desk.records.find, wanted)
        full = len(records) == wanted.limit
        last = records[-1].call_id if records else None
        shown = [
            call_of(record, [], self._currency)
            for record in records
            if self._may_read(request, record.integration, record.caller)
        ]
        return _json({"calls": shown, "next": last if full else None})

    async def outcome(self, request: Request) -> Response:
        """One outcome or a list of them."""
        media = request.headers.get("content-type", "application/json").partition(";")[0]
        if media.strip().lower() != "application/json":
            raise UnsupportedMediaType(
                "outcomes", got=media[:100] or "nothing", promised="application/json"
            )
        body = await self.body(request, "outcomes")
        read: OutcomeIn | list[OutcomeIn] = _outcomes.decode(body, "outcomes")
        given = read if isinstance(read, list) else [read]
        if len(given) > _MAX_OUTCOMES:
            raise InputMismatch(
                "outcomes", got=f"{len(given)} outcomes", promised=f"at most {_MAX_OUTCOMES}"
            )
        now_us = time.time_ns() // 1000
        for one in given:
            self._desk.engine.line(one.integration)
            if not _may_tell(request, one.integration):
                raise NotAllowed(
                    one.integration, got="a key that does not reach it", mend="ask for another"
                )
        told = [
            self._desk.engine.recorded(outcome_of(one, f"outcomes[{i}]", now_us))
            for i, one in enumerate(given)
        ]
        new = await asyncio.to_thread(self._desk.outcomes.append_outcomes, told, now_us)
        for one in told:
            self._desk.engine.metrics.add(observe.OUTCOMES, (one.integration,))
        return _json(OutcomesTaken(len(told), new), 201)

    async def body(self, request: Request, where: str) -> bytes:
        """The whole body, within the bounds of the server."""
        try:
            async with asyncio.timeout(self._body_seconds):
                return await self._whole(request, where)
        except TimeoutError:
            raise MalformedBody(
                where,
                got=f"no whole body within {self._body_seconds:g} s",
                promised="the bytes that the headers announced",
                mend="send them, or fewer",
            ) from None

    async def _whole(self, request: Request, where: str) -> bytes:
        length = request.headers.get("content-length", "0")
        limit = self._max_body
        chunks, size = list[bytes](), 0
        if length.isdigit() and int(length[:13]) <= limit:
            async for chunk in request.stream():
                size += len(chunk)
                chunks.append(chunk)
                if size > limit:
                    break
            else:
                return b"".join(chunks)
        raise BodyTooLarge(
            where, got=f"{size or length} bytes", promised=f"at most {limit} bytes",
            mend="send them in several requests",
        )  # fmt: skip


def outcome_of(one: OutcomeIn, where: str, now_us: int) -> Outcome:
    """An outcome as it came over a wire, as the noun.

    Raises:
        InputMismatch: Not exactly one of call id and entity, a bad id, or a time without zone.
    """
    if (one.call_id is None) == (one.entity is None):
        raise InputMismatch(
            where,
            got="neither call_id nor entity" if one.call_id is None else "both",
            promised="a call_id or an entity, one of them",
        )
    call_id = one.call_id
    if call_id is not None:
        try:
            call_id = id_text(id_bytes(call_id))
        except ValueError:
            raise InputMismatch(
                f"{where}.call_id", got=call_id, promised="the id of a call, a UUID"
            ) from None
    at_us = now_us
    if one.at is not None:
        if one.at.tzinfo is None:
            raise InputMismatch(
                f"{where}.at", got="a time without a zone", promised="2026-11-23T12:00:00Z"
            )
        at_us = int(one.at.timestamp() * 1_000_000)
        try:
            iso(at_us)
        except (ValueError, OverflowError):
            raise InputMismatch(
                f"{where}.at",
                got=one.at.isoformat(),
                promised="a time in the years 1 to 9999",
            ) from None
    try:
        value = float(one.value) if type(one.value) is int else one.value
    except OverflowError:
        raise InputMismatch(
            f"{where}.value", got="a whole number of hundreds of digits", promised="at most 1.8e308"
        ) from None
    return Outcome(one.integration, one.name, value, at_us, call_id, one.entity, one.source)


def _filter(pairs: list[tuple[str, str]]) -> CallFilter:
    query = dict(pairs)
    if len(query) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputMismatch(f"calls.query.{twice[:80]}", got="it twice", promised="it once")
    try:
        wanted = msgspec.convert(query, _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InputMismatch("calls.query", got=str(error).replace("`", "")) from None
    if wanted.before_id is not UNSET:
        try:
            id_bytes(wanted.before_id)
        except ValueError:
            raise InputMismatch(
                "calls.query.before_id",
                got=wanted.before_id[:80] or "nothing",
                promised="a call id",
            ) from None
    given = msgspec.structs.asdict(wanted)
    return CallFilter(**{name: value for name, value in given.items() if value is not UNSET})


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    integration: str | UnsetType = UNSET
    entity: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    route: str | UnsetType = UNSET
    release: int | UnsetType = UNSET
    since_us: int | UnsetType = UNSET
    before_id: str | UnsetType = UNSET
    limit: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 1000:
            raise ValueError("limit must be between 1 and 1000")
        for number in (self.release, self.since_us):
            if number is not UNSET and not 0 <= number < 1 << 62:
                raise ValueError("a number out of range")


async def _splice_error(_: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    wrong = error if isinstance(error, SpliceError) else RequestError("http", got=str(error))
    status = status_of(wrong)
    headers = {"retry-after": "1"} if status == 503 else {}
    body = msgspec.json.encode(problem(wrong))
    return Response(body, status, headers, media_type=PROBLEM_JSON.decode())


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    names = {404: ("not_found", "Nothing is at this path"), 405: ("method_not_allowed", "Method")}
    code, title = names.get(status, ("http_error", "HTTP error"))
    detail = f"{request.method} {request.url.path[:200]}: nothing here. See /openapi.json"
    if status == 405:
        title = "This path does not take that method"
        detail = f"{request.method} is not one of {headers.get('Allow', '')}"
    shown = ProblemDetails(f"urn:splice:error:{code}", title, status, detail, code)
    return Response(msgspec.json.encode(shown), status, headers, media_type=PROBLEM_JSON.decode())


class _LaneOnly:
    """Every method but the one that never comes here; a class, for Starlette then asks for none."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(405, headers={"Allow": "POST"})


async def _unforeseen(request: Request, _: Exception) -> Response:
    wrong = SpliceError(
        request.url.path[:200], got="an error that nobody foresaw",
        mend="the log of the server tells which",
    )  # fmt: skip
    return await _splice_error(request, wrong)


def pages(desk: Desk, max_body: int, body_seconds: float, currency: str) -> ASGIApp:
    """The Starlette application for all but calls."""
    own = _Pages(desk, max_body, body_seconds, currency)
    routes = [
        Route("/healthz", own.healthz),
        Route("/readyz", own.readyz),
        Route("/metrics", own.metrics),
        Route("/openapi.json", own.openapi),
        Route("/v1/integrations", own.integrations),
        Route("/v1/integrations/{name}/calls", _LaneOnly()),
        Route("/v1/integrations/{name}/events", EventsPage(desk, own.body).post, methods=["POST"]),
        *ReviewsPage(desk, own.body, currency).routes(),
        *SubjectsPage(desk, own.body).routes(),
        Route("/v1/calls", own.calls),
        Route("/v1/calls/{call_id}", own.call),
        Route("/v1/outcomes", own.outcome, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={
            SpliceError: _splice_error,
            ClientDisconnect: _splice_error,
            HTTPException: _http_error,
            Exception: _unforeseen,
        },
    )
