"""Mounted in another program's application, Splice answers there as it does by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from mounted_types import Anything, Echoes, Parcel, ParcelPrice, Price, Queue, Ticket, TicketQueue
from starlette.testclient import TestClient

import splice
from splice.core.errors import InputMismatch, RequestError, UnknownIntegration
from splice.testing.project import Connection

PARCEL = {"sender": "s-1", "kilos": 1.5}


def fastapi_with(app: splice.App, *, lifespan: bool) -> FastAPI:
    outer = FastAPI(lifespan=app.lifespan if lifespan else None)

    @outer.get("/own")
    async def own() -> dict[str, float]:
        price = await app.call(ParcelPrice, Parcel("s-1", 2.0))
        return {"euros": price.euros}

    outer.mount("/ai", app.asgi())
    return outer


@contextmanager
def running(outer: FastAPI) -> Iterator[Connection]:
    """The application in a server as anybody would run it, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(outer, port=0, log_level="error", lifespan="auto"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not (server.started and server.servers):
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with closing(Connection("127.0.0.1", port)) as one:
        yield one
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("lifespan", [True, False])
def test_mounted_in_fastapi_it_answers_with_and_without_its_lifespan(
    tmp_path: Path, lifespan: bool
) -> None:
    app = splice.App(ParcelPrice, TicketQueue, project=tmp_path)

    with running(fastapi_with(app, lifespan=lifespan)) as one:
        call = one.post("/ai/v1/integrations/parcel-price/calls", PARCEL)
        own = one.get("/own")
        bad = one.post("/ai/v1/integrations/parcel-price/calls", {**PARCEL, "kilos": "x"})
        health = one.get("/ai/readyz")
        document = one.get("/ai/openapi.json").json
        missing = one.get("/ai/nothing")
        high = one.post(
            "/ai/v1/integrations/ticket-queue/calls", {"customer": "c", "text": "so angry"}
        )
        shown = one.get(f"/ai/v1/calls/{high.json['call_id']}")

    assert (call.status, call.json["reply"]) == (200, {"euros": 3.0})
    assert own.json == {"euros": 4.0}
    assert (bad.status, bad.json["where"]) == (422, "parcel-price.input.kilos")
    assert (health.status, missing.status) == (200, 404)
    assert document["servers"] == [{"url": "/ai"}]
    assert high.json["reply"] == {"name": "billing", "urgent": True}
    assert shown.json["reply"] == high.json["reply"]
    app.services.recorder.stop() if app.started else None


def test_mounted_it_answers_in_a_test_client_too(tmp_path: Path) -> None:
    app = splice.App(ParcelPrice, project=tmp_path)

    with TestClient(fastapi_with(app, lifespan=True)) as client:
        answer = client.post("/ai/v1/integrations/parcel-price/calls", json=PARCEL)

    assert answer.json()["reply"] == {"euros": 3.0}
    assert not app.started


@pytest.fixture
async def app(tmp_path: Path) -> splice.App:
    async with AsyncExitStack() as stack:
        made = splice.App(ParcelPrice, TicketQueue, Echoes, project=tmp_path)
        yield await stack.enter_async_context(made)


async def test_a_call_in_this_process_gives_the_reply_type(app: splice.App) -> None:
    price = await app.call(ParcelPrice, Parcel("s-1", 1.0))
    queue = await app.call(TicketQueue, Ticket(customer="c", text="so angry"))

    assert price == Price(2.0)
    assert queue == Queue(name="billing", urgent=True)


async def test_a_call_in_this_process_takes_a_mapping_and_a_name(app: splice.App) -> None:
    by_class = await app.call(TicketQueue, {"customer": "c", "text": "calm"})
    by_name = await app.call("parcel-price", {"sender": "s", "kilos": 1})

    assert by_class == Queue(name="billing")
    assert by_name == {"euros": 2.0}


@pytest.mark.parametrize(
    ("integration", "request_", "where"),
    [
        (ParcelPrice, {"sender": "s"}, "parcel-price.input.kilos"),
        (ParcelPrice, {**PARCEL, "x": 1}, "parcel-price.input.x"),
        (ParcelPrice, {"sender": "s", "kilos": float("nan")}, "parcel-price.input.kilos"),
        (ParcelPrice, Parcel("", 1.0), "parcel-price.input.sender"),
        (ParcelPrice, Parcel("x" * 257, 1.0), "parcel-price.input.sender"),
        (ParcelPrice, 5, "parcel-price.input"),
        (ParcelPrice, None, "parcel-price.input"),
        (TicketQueue, {"customer": "c", "text": "x"}, "ticket-queue.input.text"),
        (TicketQueue, {"customer": "c"}, "ticket-queue.input.text"),
        (TicketQueue, {"customer": "c", "text": "long", "x": 1}, "ticket-queue.input.x"),
        (TicketQueue, {"customer": "", "text": "long"}, "ticket-queue.input.customer"),
        (Echoes, {"value": object()}, "echoes.input"),
        (Echoes, {"value": "\ud800"}, "echoes.input"),
    ],
)
async def test_a_bad_request_in_this_process_names_its_field(
    app: splice.App, integration: type[splice.Integration], request_: object, where: str
) -> None:
    with pytest.raises(InputMismatch) as refused:
        await app.call(integration, request_)

    assert refused.value.where == where


async def test_a_request_nested_too_deep_in_this_process_is_refused(app: splice.App) -> None:
    nested: object = 1
    for _ in range(50_000):
        nested = [nested]

    with pytest.raises(RequestError):
        await app.call(Echoes, {"value": nested})
    with pytest.raises(RequestError):
        await app.call(Echoes, Anything(nested))


async def test_an_unknown_name_is_an_error_that_names_the_known_ones(app: splice.App) -> None:
    with pytest.raises(UnknownIntegration) as refused:
        await app.call("nobody", {})

    assert "parcel-price" in refused.value.promised


async def test_a_key_in_this_process_gives_the_first_answer_again(app: splice.App) -> None:
    first = await app.ask(ParcelPrice, PARCEL, key="k")
    second = await app.ask(ParcelPrice, PARCEL, key="k")

    assert second.record.call_id == first.record.call_id
    assert second.record.reply == first.record.reply


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "\ud800", "é"])
async def test_a_key_that_is_none_is_refused_in_this_process_too(app: splice.App, key: str) -> None:
    with pytest.raises(InputMismatch) as refused:
        await app.call(ParcelPrice, PARCEL, key=key)

    assert refused.value.where == "parcel-price.idempotency-key"
