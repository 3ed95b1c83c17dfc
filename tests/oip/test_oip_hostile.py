"""Thousands of mutated bodies: each gets an answer below 500, and the process goes on answering."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oip_house import ORDERS, TOML, orders, project_in

import splice
from splice.serve.wire import WireAnswer, WireCall
from splice.testing.project import Server

HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**40, 1e308, -0.0, "", "a", "\u0000", "é" * 50,
    [], [[]], [None], {}, {"a": 1}, [[[[1]]]], [1, "a"], "BYTES", "FP64", "INT64", "BOOL",
    "x" * 300, [2**40, 2**40], [-1], ["-1"], 1.5,
]  # fmt: skip


@pytest.fixture
async def app(tmp_path: Path) -> Any:
    toml = TOML.replace("grpc_port = 0\n", "")
    project = project_in(tmp_path / "p", toml)
    async with splice.App(project=project.folder) as made:
        yield made


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value that can be set."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def mutated_json(body: dict[str, Any], dice: random.Random) -> bytes:
    """A request with a few values replaced, removed or added."""
    said = json.loads(json.dumps(body))
    for _ in range(dice.randint(1, 3)):
        places = list(_places(said))
        if not places:
            break
        parent, key = dice.choice(places)
        change = dice.random()
        if change < 0.7:
            parent[key] = copy.deepcopy(dice.choice(HOSTILE))
        elif change < 0.85:
            del parent[key]
        elif isinstance(parent, dict):
            parent[dice.choice(("name", "data", "parameters", "x"))] = copy.deepcopy(
                dice.choice(HOSTILE)
            )
        else:
            parent.append(copy.deepcopy(dice.choice(HOSTILE)))
    return json.dumps(said).encode()


def mutated_bytes(body: bytes, dice: random.Random) -> bytes:
    """The same bytes, but for a few."""
    raw = bytearray(body)
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(len(raw) + 1)
        change = dice.randrange(4)
        if change == 0:
            raw[at : at + 1] = dice.randbytes(1)
        elif change == 1:
            del raw[at : at + dice.randint(1, 20)]
        elif change == 2:
            raw[at:at] = dice.choice((b"[", b"{", b'"', b"\\", b"NaN", b"\xff", b"\0", b":1,"))
        else:
            raw[at:at] = dice.randbytes(dice.randint(1, 8))
    return bytes(raw)


def binary(rows: int) -> tuple[bytes, int]:
    """Orders as binary data, and the length of the JSON."""
    names = b"".join(struct.pack("<I", 2) + b"c%d" % (at % 10) for at in range(rows))
    amounts = struct.pack(f"<{rows}d", *[900.0] * rows)
    inputs = [
        {"name": "customer", "datatype": "BYTES", "shape": [rows],
         "parameters": {"binary_data_size": len(names)}},
        {"name": "amount", "datatype": "FP64", "shape": [rows, 1],
         "parameters": {"binary_data_size": len(amounts)}},
    ]  # fmt: skip
    said = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return said + names + amounts, len(said)


def hostile(dice: random.Random) -> tuple[dict[bytes, bytes], bytes]:
    """Headers and a body that were a request once."""
    kind = dice.randrange(4)
    if kind == 0:
        wanted = {"outputs": [{"name": "risk", "parameters": {"binary_data": True}}], "id": "1"}
        return {}, mutated_json(orders(dice.randint(1, 3), **wanted), dice)
    if kind == 1:
        return {}, mutated_bytes(json.dumps(orders(2)).encode(), dice)
    body, length = binary(dice.randint(1, 4))
    if kind == 2:
        body = mutated_bytes(body, dice)
    said = json.loads(body[:length]) if kind == 3 else None
    if said is not None:
        changed = mutated_json(said, dice)
        body, length = changed + body[length:], len(changed)
    if dice.random() < 0.1:
        length += dice.choice((-1, 1, 7, 1000))
    return {b"inference-header-content-length": b"%d" % length}, body


async def test_ten_thousand_mutated_requests_never_get_an_error_of_the_server(app: Any) -> None:
    surface = app.asgi().gateway.surface(ORDERS)
    dice = random.Random(20261128)
    statuses: Counter[int] = Counter()
    for _ in range(10_000):
        headers, body = hostile(dice)
        answer: WireAnswer = await surface.answer(WireCall("POST", ORDERS, headers, body))
        statuses[answer.status] += 1
        if answer.status != 200:
            told = json.loads(answer.body)
            assert "nobody foresaw" not in told["error"], (headers, body)
            assert told["code"], (headers, body)

    assert set(statuses) <= {200, 400}
    assert statuses[400] > 2000
    assert statuses[200] > 100  # some were still requests: the mutations are near the mark


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'[{"customer":"a","amount":1.5},{"customer":"b","amount":2}]'),
        ("application/json", b'{"instances":[{"customer":"a","amount":1.5,"note":null}]}'),
        ("application/jsonlines", b'{"customer":"a","amount":1}\n{"customer":"b","amount":2}\n'),
        ("text/csv", b'customer,amount,note\na,1.5,"x, y"\nb,2,\n'),
    ],
)
async def test_mutated_invocations_never_get_an_error_of_the_server(
    app: Any, content_type: str, body: bytes
) -> None:
    surface = app.asgi().gateway.surface("/invocations")
    dice = random.Random(len(body))
    statuses: Counter[int] = Counter()
    for _ in range(1500):
        headers = {b"content-type": content_type.encode()}
        call = WireCall("POST", "/invocations", headers, mutated_bytes(body, dice))
        answer: WireAnswer = await surface.answer(call)
        statuses[answer.status] += 1

    assert set(statuses) <= {200, 400}
    assert statuses[400] > 100


def test_the_server_goes_on_after_mutated_bodies_on_one_connection(server: Server) -> None:
    dice = random.Random(4)
    connection = server.connection()
    statuses: Counter[int] = Counter()
    for _ in range(1000):
        headers, body = hostile(dice)
        named = {name.decode(): value.decode() for name, value in headers.items()}
        statuses[connection.ask("POST", ORDERS, body or b" ", named).status] += 1
    connection.close()

    assert set(statuses) <= {200, 400}
    assert server.post(ORDERS, orders(1)).status == 200
    assert "nobody foresaw" not in server.log
