"""`/v1/reviews`: the queue of calls that a person must look at, and what he says of them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from splice.control.oversight import Oversight, Ruling
from splice.core.access import ANYONE, Principal
from splice.core.audit import Origin, acting
from splice.core.call import Record
from splice.core.errors import InputMismatch, UnknownCall, UnsupportedMediaType
from splice.core.reviews import Cause, Review, ReviewState
from splice.declare.codec import codec
from splice.ports.reviews import ReviewFilter
from splice.serve.http.desk import Desk, call_of
from splice.serve.reviews import (
    AgainIn,
    ApproveIn,
    EscalateIn,
    ReviewList,
    ReviewWhole,
    VerdictIn,
    explained,
    shown,
)

_verdict, _again = codec(VerdictIn), codec(AgainIn)
_HOST = socket.gethostname()
WAIT_S = 30.0
"""How long a request for an explanation waits until it is worked out."""

Read = Callable[[Request, str], Awaitable[bytes]]
Act = Callable[[Oversight, Principal, int], Review]


class ReviewsPage:
    """Lists, shows, claims and decides.

    Args:
        desk: The process behind it.
        read: Reads a body within the bounds of the server; told where errors are.
        currency: Currency of costs.
    """

    def __init__(self, desk: Desk, read: Read, currency: str) -> None:
        self._desk = desk
        self._read = read
        self._currency = currency

    def routes(self) -> list[Route]:
        """Its paths."""
        one = "/v1/reviews/{review_id}"
        return [
            Route("/v1/reviews", self.list),
            Route(one, self.show),
            Route(f"{one}/explanation", self.explanation),
            Route(f"{one}/claim", self.claim, methods=["POST", "DELETE"]),
            Route(f"{one}/verdict", self.verdict, methods=["POST"]),
            Route(f"{one}/again", self.again, methods=["POST"]),
        ]

    async def list(self, request: Request) -> Response:
        """What waits, in the order in which it is due; or what ended, newest first."""
        query = _query(request.query_params.multi_items())

        def read() -> tuple[list[Review], int]:
            oversight, who = self._desk.overseer.oversight, _who(request)
            after = None if query.after is UNSET else oversight.one(who, query.after)
            wanted = ReviewFilter(
                None if query.integration is UNSET else (query.integration,),
                None if query.state is UNSET else query.state,
                None if query.state is not UNSET else True,
                None if query.origin is UNSET else query.origin,
                None if query.call_id is UNSET else query.call_id,
                due_before_us=time.time_ns() // 1000 if query.overdue == "true" else None,
                after=after, limit=query.limit,
            )  # fmt: skip
            return oversight.listed(who, wanted), time.time_ns() // 1000

        found, now_us = await asyncio.to_thread(read)
        full = len(found) == query.limit
        return _json(
            ReviewList([shown(one, now_us) for one in found], found[-1].id if full else None)
        )

    async def show(self, request: Request) -> Response:
        """One review with its call."""

        def read() -> ReviewWhole:
            review, record = self._found(request)
            call = None
            if record is not None and self._may_read(request, record):
                outcomes = self._desk.outcomes.outcomes_of(record)
                call = call_of(record, outcomes, self._currency)
            return ReviewWhole(shown(review, time.time_ns() // 1000), call)

        return _json(await asyncio.to_thread(read))

    async def explanation(self, request: Request) -> Response:
        """What the answer rests on, what a model was told, and calls like it."""

        def read() -> Any:
            review, record = self._found(request)
            if record is None or not self._may_read(request, record):
                raise UnknownCall(review.call_id, got="no such call in the ledger")
            explains = self._desk.overseer.explanations
            may = partial(self._may_read, request)
            return explained(explains, record, may, self._currency, WAIT_S)

        return _json(await asyncio.to_thread(read))

    async def claim(self, request: Request) -> Response:
        """For ten minutes nobody else can decide it; deleted, others can at once."""
        review_id = _id(request)
        if request.method == "DELETE":
            return await self._act(request, lambda one, who, _: one.let_go(who, review_id))
        return await self._act(request, lambda one, who, now: one.claim(who, review_id, now))

    async def verdict(self, request: Request) -> Response:
        """Approve, override with a corrected decision, or escalate."""
        body = await self._body(request, "review")
        said: VerdictIn = _verdict.decode(body, "review")
        ruling = _ruling(said)
        review_id = _id(request)
        return await self._act(
            request, lambda one, who, now: one.decide(who, review_id, ruling, now)
        )

    async def again(self, request: Request) -> Response:
        """A decided call is looked at once more."""
        said: AgainIn = _again.decode(await self._body(request, "review"), "review")
        review_id = _id(request)
        return await self._act(
            request, lambda one, who, now: one.again(who, review_id, said.why, now), 201
        )

    async def _act(self, request: Request, act: Act, status: int = 200) -> Response:
        now_us = time.time_ns() // 1000
        who = _who(request)

        def done() -> Review:
            with acting(_origin(request)):
                return act(self._desk.overseer.oversight, who, now_us)

        return _json(shown(await asyncio.to_thread(done), now_us), status)

    async def _body(self, request: Request, where: str) -> bytes:
        media = request.headers.get("content-type", "application/json").partition(";")[0]
        # A page of another site can send a form, but not this type: no browser is to be trusted.
        if media.strip().lower() != "application/json":
            raise UnsupportedMediaType(
                where, got=media[:100] or "nothing", promised="application/json"
            )
        return await self._read(request, where)

    def _found(self, request: Request) -> tuple[Review, Record | None]:
        review = self._desk.overseer.oversight.one(_who(request), _id(request))
        return review, self._desk.records.get(review.call_id)

    def _may_read(self, request: Request, record: Record) -> bool:
        keyring = self._desk.engine.keyring
        return keyring.may_read(_who(request), record.integration, record.caller)


CallId = Annotated[
    str, Meta(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", max_length=36)
]


class _Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    integration: str | UnsetType = UNSET
    state: ReviewState | UnsetType = UNSET
    origin: Cause | UnsetType = UNSET
    call_id: CallId | UnsetType = UNSET
    overdue: Literal["true", "false"] = "false"
    after: str | UnsetType = UNSET
    limit: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 500:
            raise ValueError("limit must be between 1 and 500")


def _query(pairs: list[tuple[str, str]]) -> _Query:
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InputMismatch("reviews.query", got="a name twice", promised="each once")
    try:
        return msgspec.convert(query, _Query, strict=False)
    except msgspec.ValidationError as error:
        raise InputMismatch("reviews.query", got=str(error).replace("`", "")) from None


def _ruling(said: VerdictIn) -> Ruling:
    if isinstance(said, ApproveIn):
        return Ruling("approve", note=said.note)
    if isinstance(said, EscalateIn):
        return Ruling("escalate", reason=said.reason, note=said.note)
    return Ruling("override", msgspec.json.encode(said.reply), said.reason, said.note)


def _id(request: Request) -> str:
    return request.path_params["review_id"]


def _who(request: Request) -> Principal:
    return request.scope.get("splice.principal", ANYONE)


def _origin(request: Request) -> Origin:
    address = request.client.host if request.client else ""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return Origin("api", address, _HOST, f"{request.method} {path[:200]}")


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
