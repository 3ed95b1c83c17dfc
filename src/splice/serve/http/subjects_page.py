"""`/v1/subjects`: what is recorded of a person, and its erasure."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from splice.core.access import ANYONE, Permission, Principal
from splice.core.audit import Origin, acting
from splice.core.erasure import Erasure
from splice.core.errors import InputMismatch, NotAllowed, UnsupportedMediaType
from splice.declare.codec import codec
from splice.serve.adopt import REF
from splice.serve.http.desk import Desk

Read = Callable[[Request, str], Awaitable[bytes]]

_HOST = socket.gethostname()
_MOST = 256


Person = Annotated[str, Meta(min_length=1, max_length=_MOST)]
Why = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"\S")]


class ErasureIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is to be erased, and why; the reason must not name him."""

    subject: Person
    why: Why
    integrations: tuple[str, ...] = ()
    final: bool = False


class SubjectIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks what is recorded of him."""

    subject: Person


_erasure, _subject = codec(ErasureIn), codec(SubjectIn)


class SubjectsPage:
    """Erases persons, and gives out what is known of them: for administrators alone.

    A person is named in the body, for addresses end up in the logs of whatever passes them on. Who
    knows his HMAC (`hmac:…`) may name it in the address.

    Args:
        desk: The process behind it.
        read: Reads a body within the bounds of the server; told where errors are.
    """

    def __init__(self, desk: Desk, read: Read) -> None:
        self._desk = desk
        self._read = read

    def routes(self) -> list[Route]:
        """Its paths."""
        return [
            Route("/v1/subjects/erasures", self.erase, methods=["POST"]),
            Route("/v1/subjects/exports", self.export, methods=["POST"]),
            Route("/v1/subjects/{subject}", self.delete, methods=["DELETE"]),
        ]

    async def erase(self, request: Request) -> Response:
        """Destroy the keys of a person; gives the receipt."""
        who = _administrator(request)
        said: ErasureIn = _erasure.decode(await self._body(request), "subjects")
        return await self._erase(request, who, said)

    async def delete(self, request: Request) -> Response:
        """The same by his HMAC, with the reason as `?why=`."""
        who = _administrator(request)
        why = request.query_params.get("why", "")
        return await self._erase(
            request, who, ErasureIn(subject=request.path_params["subject"], why=why)
        )

    async def export(self, request: Request) -> Response:
        """All that is recorded of a person."""
        who = _administrator(request)
        said: SubjectIn = _subject.decode(await self._body(request), "subjects")
        person, eraser = _named(said.subject), self._desk.eraser

        def done() -> dict[str, Any]:
            with acting(_origin(request, "POST /v1/subjects/exports")):
                return eraser.known(person, by=_name(who), now_us=time.time_ns() // 1000)

        return _json(await asyncio.to_thread(done))

    async def _erase(self, request: Request, who: Principal, said: ErasureIn) -> Response:
        person, eraser = _named(said.subject), self._desk.eraser
        if not said.why.strip():
            raise InputMismatch("subjects.why", got="nothing", promised="a reason, to be kept")

        def done() -> Erasure:
            with acting(_origin(request, "POST /v1/subjects/erasures")):
                return eraser.erase(
                    person, by=_name(who), why=said.why[:1000], now_us=time.time_ns() // 1000,
                    integrations=said.integrations, final=said.final,
                )  # fmt: skip

        return _json(await asyncio.to_thread(done), 201)

    async def _body(self, request: Request) -> bytes:
        media = request.headers.get("content-type", "application/json").partition(";")[0]
        # A page of another site can send a form, but not this type: no browser is to be trusted.
        if media.strip().lower() != "application/json":
            raise UnsupportedMediaType(
                "subjects", got=media[:100] or "nothing", promised="application/json"
            )
        return await self._read(request, "subjects")


def _origin(request: Request, command: str) -> Origin:
    """From where; not the address of the page, which may name the person: the log stays."""
    return Origin("api", request.client.host if request.client else "", _HOST, command)


def _name(who: Principal) -> str:
    return who.name or who.caller or "anyone"


def _administrator(request: Request) -> Principal:
    who: Principal = request.scope.get("splice.principal", ANYONE)
    if not who.may(Permission.ADMINISTER, "*"):
        raise NotAllowed(
            "subjects", got="a key or a person without that role",
            promised="the role admin for every integration",
            mend="ask an administrator; splice keys grant gives a key the role",
        )  # fmt: skip
    return who


def _named(person: str) -> str:
    if not 0 < len(person) <= _MOST:
        raise InputMismatch(
            "subjects.subject", got=f"{len(person)} characters", promised=f"1 to {_MOST}"
        )
    return person


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


Problems = Callable[..., dict[str, Any]]

OWN = (Erasure, ErasureIn, SubjectIn)
"""The types of their bodies."""


def subject_paths(problems: Problems) -> dict[str, Any]:
    """What the OpenAPI document says of them; `problems` gives the answers of these statuses."""

    def said(kind: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"{REF}{kind}"}}}

    receipt = {"201": {"description": "It is erased: the receipt.", "content": said("Erasure")}}
    known = {"application/json": {"schema": {"type": "object"}}}
    told = problems(400, 403, 409, 413, 415, 422, 503)
    return {
        "/v1/subjects/erasures": {
            "post": {
                "operationId": "erase_subject", "summary": "Destroy the keys of a person",
                "requestBody": {"required": True, "content": said("ErasureIn")},
                "responses": {**receipt, **told},
            }
        },
        "/v1/subjects/exports": {
            "post": {
                "operationId": "export_subject", "summary": "All that is recorded of a person",
                "requestBody": {"required": True, "content": said("SubjectIn")},
                "responses": {"200": {"description": "It.", "content": known}, **told},
            }
        },
        "/v1/subjects/{subject}": {
            "delete": {
                "operationId": "delete_subject", "summary": "Destroy the keys of a person by HMAC",
                "parameters": [
                    {"name": "subject", "in": "path", "required": True,
                     "schema": {"type": "string", "maxLength": _MOST, "minLength": 1}},
                    {"name": "why", "in": "query", "required": True,
                     "schema": {"type": "string", "minLength": 1, "pattern": "\\S"}},
                ],
                "responses": {**receipt, **told},
            }
        },
    }  # fmt: skip
