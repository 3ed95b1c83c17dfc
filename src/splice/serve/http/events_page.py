"""`POST /v1/integrations/{name}/events`: a request to be answered later, from its stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from splice.core.access import ANYONE, Principal
from splice.core.errors import Draining
from splice.engine.admit import may_answer
from splice.engine.keyring import may_call
from splice.serve.events.cloudevents import BATCH, letters_of_http
from splice.serve.events.publishing import checked_id
from splice.serve.http.desk import Desk

_json = msgspec.json.Encoder().encode


class EventTaken(msgspec.Struct, frozen=True):
    """The event is stored, and will be answered."""

    event_id: str


class EventsPage:
    """Takes plain JSON of the request, and CloudEvents: binary, structured, or a batch.

    Args:
        desk: The process behind it.
        read: Reads a body within the bounds of the server; told where errors are.
    """

    def __init__(self, desk: Desk, read: Callable[[Request, str], Awaitable[bytes]]) -> None:
        self._desk = desk
        self._read = read

    async def post(self, request: Request) -> Response:
        """202 with the id of the event, or with all ids of a batch; stored by then."""
        name: str = request.path_params["name"]
        principal: Principal = request.scope.get("splice.principal", ANYONE)
        if self._desk.draining:
            raise Draining("server", got="a new event while shutting down")
        line = self._desk.engine.line(name)
        may_call(principal, name)
        may_answer(line)
        headers: dict[bytes, bytes] = dict(request.scope["headers"])
        body = await self._read(request, line.where)
        letters = letters_of_http(headers, body)
        key = headers.get(b"idempotency-key")
        if key is not None and len(letters) == 1 and letters[0].id is None:
            letters[0].id = checked_id(key.decode("latin-1"), f"{name}.idempotency-key")
        source = f"/splice/{name}/http" + (f"/{principal.caller}" if principal.caller else "")
        ids = await self._desk.publisher.publish(line, letters, source)
        batch = headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == BATCH
        answer = {"event_ids": ids} if batch else EventTaken(ids[0])
        return Response(_json(answer), 202, media_type="application/json")
