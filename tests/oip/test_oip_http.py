"""The Open Inference Protocol over bare HTTP: paths, methods, binary data, what is wrong."""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from oip_house import ORDERS, TOML, orders, project_in, recorded, stopped_in_mid_call, tensor

from splice.testing.project import Server


def binary_orders(**change: Any) -> tuple[bytes, dict[str, str]]:
    """A request for one order as binary data, and its headers."""
    name = b"\x03\0\0\0c-1"
    amount = struct.pack("<d", 900.0)
    inputs = [
        {"name": "customer", "datatype": "BYTES", "shape": [1],
         "parameters": {"binary_data_size": len(name)}},
        {"name": "amount", "datatype": "FP64", "shape": [1],
         "parameters": {"binary_data_size": len(amount)}},
    ]  # fmt: skip
    inputs[1] |= change.pop("amount", {})
    said = json.dumps({"inputs": inputs, **change}).encode()
    return said + name + amount, {"inference_header_content_length": str(len(said))}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v2", {"name": "splice", "extensions": ["binary_tensor_data", "model_repository"]}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/orders", {"name": "orders", "platform": "splice", "versions": ["1"]}),
        ("/v2/models/orders/versions/1", {"name": "orders"}),
        ("/v2/models/orders/ready", {"name": "orders", "ready": True}),
        ("/v2/models/orders/versions/1/ready", {"ready": True}),
    ],
)
def test_what_is_asked_by_get_is_told(server: Server, path: str, told: dict[str, Any]) -> None:
    answer = server.get(path)

    assert answer.status == 200
    assert answer.json | told == answer.json


def test_models_are_listed(server: Server) -> None:
    assert "orders" in server.get("/v2/models").json["models"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/none", 404),
        ("GET", "/v2/models/orders/versions/2", 404),
        ("POST", "/v2/models/orders/versions/2/infer", 404),
        ("GET", "/v2/models/orders/versions/", 404),
        ("GET", "/v2/models/orders/config", 404),
        ("POST", "/v2/repository/models/orders/load", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", ORDERS, 405),
        ("POST", "/v2/models/orders", 405),
        ("DELETE", "/v2/health/live", 405),
        ("GET", "/v2/repository/index", 405),
    ],
)
def test_what_is_not_here_is_told_as_json(
    server: Server, method: str, path: str, status: int
) -> None:
    answer = server.ask(method, path, {} if method == "POST" else None)

    if path.endswith("/versions/"):
        status = 200  # no version named is whichever is live
    assert answer.status == status
    assert (status == 405) == ("allow" in answer.headers)
    assert status == 200 or answer.json["error"]


def test_binary_data_is_read_and_written(server: Server) -> None:
    body, headers = binary_orders(
        outputs=[{"name": "risk", "parameters": {"binary_data": True}}, {"name": "action"}]
    )

    answer = server.post(ORDERS, body, **headers)

    length = int(answer.headers["inference-header-content-length"])
    told = json.loads(answer.body[:length])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert struct.unpack("<d", answer.body[length:]) == (0.9,)
    assert told["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert told["outputs"][1]["data"] == ["review"]


def test_all_outputs_are_binary_where_the_request_says_so(server: Server) -> None:
    answer = server.post(ORDERS, orders(2, parameters={"binary_data_output": True}))

    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == struct.pack("<dd", 0.1, 0.9) + b"\4\0\0\0ship\6\0\0\0review"


@pytest.mark.parametrize(
    ("length", "says"),
    [
        ("99999", "expected the length of the JSON"),
        ("-1", "expected the length of the JSON"),
        ("x", "expected the length of the JSON"),
        ("5", "malformed JSON"),
        ("0", "malformed JSON"),
    ],
)
def test_a_length_of_the_json_that_lies_is_refused(server: Server, length: str, says: str) -> None:
    body, _ = binary_orders()

    answer = server.post(ORDERS, body, inference_header_content_length=length)

    assert answer.status == 400
    assert says in answer.json["error"]


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ({"parameters": {"binary_data_size": 9}}, "expected a number of bytes, at most the 8"),
        ({"parameters": {"binary_data_size": 4}}, "got 4 bytes, expected 8 bytes"),
        ({"parameters": {"binary_data_size": -8}}, "got -8, expected a number of bytes"),
        ({"parameters": {"binary_data_size": "8"}}, "got str, expected a number of bytes"),
        ({"parameters": {"binary_data_size": True}}, "got bool, expected a number of bytes"),
        ({"data": [1.0]}, "got both data and binary_data_size"),
        ({"shape": [1 << 40]}, "got 8 bytes"),
        ({"shape": [1 << 41]}, "expected sizes of 0 and more"),
        ({"shape": [-1]}, "expected sizes of 0 and more"),
        ({"shape": [1] * 17}, "got 17 dimensions"),
        ({"parameters": {}}, "got nothing, expected an array of 1 values"),
    ],
)
def test_sizes_that_lie_are_refused(server: Server, amount: dict[str, Any], says: str) -> None:
    body, headers = binary_orders(amount=amount)

    answer = server.post(ORDERS, body, **headers)

    assert answer.status == 400
    assert says in answer.json["error"]


@pytest.mark.parametrize("size", [0, 8])
def test_a_size_of_binary_data_beside_values_is_refused(server: Server, size: int) -> None:
    body = orders(1)
    body["inputs"][1]["parameters"] = {"binary_data_size": size}

    answer = server.post(ORDERS, body)

    assert answer.status == 400
    assert "binary_data_size" in answer.json["error"]


def test_binary_data_that_belongs_to_no_tensor_is_refused(server: Server) -> None:
    body, headers = binary_orders()

    answer = server.post(ORDERS, body + b"more", **headers)

    assert answer.status == 400
    assert "4 bytes of binary data that belong to no tensor" in answer.json["error"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_with_its_row(server: Server, value: float) -> None:
    inputs = [
        tensor("customer", "BYTES", ["a", "b"]),
        {"name": "amount", "datatype": "FP64", "shape": [2],
         "parameters": {"binary_data_size": 16}},
    ]  # fmt: skip
    said = json.dumps({"inputs": inputs}).encode()

    answer = server.post(
        ORDERS, said + struct.pack("<dd", 1.0, value),
        inference_header_content_length=str(len(said)),
    )  # fmt: skip

    assert answer.status == 400
    assert answer.json["error"].startswith("orders.input[1].amount: got NaN or an infinity")


def test_bytes_that_are_no_text_are_refused(server: Server) -> None:
    body, headers = binary_orders()

    answer = server.post(ORDERS, body.replace(b"c-1", b"\xff\xfe\xfd"), **headers)

    assert answer.status == 400
    assert answer.json["error"].startswith("orders.input[0].customer: got bytes that are not UTF-8")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"inputs": [], "inputs": []}', "the key 'inputs' twice"),
        (b'{"inputs": [{"name": "amount", "datatype": "FP64", "shape": [1], "data": [NaN]}]}',
         "malformed JSON"),
        (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", "got"),
        (b"[1]", "got array, expected object"),
        (b"\xff", "malformed JSON"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_refused(server: Server, body: bytes, says: str) -> None:
    answer = server.post(ORDERS, body)

    assert answer.status == 400
    assert says in answer.json["error"]


def test_what_nobody_reads_here_is_refused_and_not_ignored(server: Server) -> None:
    shared = orders(1)
    shared["inputs"][0]["parameters"] = {"shared_memory_region": "r"}
    ranked = orders(1, outputs=[{"name": "risk", "parameters": {"classification": 2}}])

    answers = [
        server.post(ORDERS, shared),
        server.post(ORDERS, ranked),
        server.post(ORDERS, orders(1), content_encoding="gzip"),
        server.post(ORDERS, orders(1), content_type="text/plain"),
    ]

    assert [one.status for one in answers] == [400, 400, 415, 415]


def test_a_body_beyond_the_bound_is_refused(server: Server) -> None:
    answer = server.post(ORDERS, b" " * (1 << 20) + b" ")

    assert answer.status == 413
    assert "server.max_body_bytes" in answer.json["error"]


def test_keys_say_what_may_be_seen_and_called(tmp_path: Path) -> None:
    project = project_in(tmp_path / "p", TOML + '[access]\nkeys = "required"\n')
    made = project.run("keys", "create", "robot", "--integrations", "orders", "--json")
    token = json.loads(made.stdout)["secret"]
    with project.serve() as server:
        shown = {"authorization": f"Bearer {token}"}
        bare = {
            path: server.get(path).status
            for path in ("/v2", "/v2/models", "/v2/models/orders", "/v2/health/live",
                         "/v2/health/ready", "/ping")
        }  # fmt: skip
        models = server.ask("GET", "/v2/models", **shown).json
        index = server.post("/v2/repository/index", {}, **shown).json
        statuses = [
            server.post(ORDERS, orders(1), **shown).status,
            server.post(ORDERS, orders(1), x_api_key=token).status,
            server.post(ORDERS, orders(1)).status,
            server.post("/v2/models/high-orders/infer", orders(1), **shown).status,
            server.ask("GET", "/v2/models/high-orders", **shown).status,
        ]
        call = server.post(ORDERS, orders(2), **shown).json
        one = json.loads(call["parameters"]["splice_call_ids"])[0]
        caller = recorded(server, one, **shown)["caller"]

    assert bare == {
        "/v2": 401, "/v2/models": 401, "/v2/models/orders": 401, "/v2/health/live": 200,
        "/v2/health/ready": 200, "/ping": 200,
    }  # fmt: skip
    assert models == {"models": ["orders"]}
    assert [found["name"] for found in index] == ["orders"]
    assert statuses == [200, 200, 401, 403, 403]
    assert caller.startswith("key:")


def test_a_server_that_drains_takes_no_new_rows(tmp_path: Path) -> None:
    project = project_in(tmp_path / "p")
    with project.serve() as server:
        answers: list[Any] = []
        body = {"inputs": [tensor("seconds", "FP64", [-1.0, -2.0])]}

        def ask() -> None:
            answers.append(server.post("/v2/models/waits/infer", body))

        asking = threading.Thread(target=ask)
        asking.start()
        while b"splice_calls_in_flight 2" not in server.get("/metrics").body:
            assert asking.is_alive()
        code = stopped_in_mid_call(server, project)
        asking.join()

    assert code == 0
    assert answers[0].status == 200
    assert answers[0].json["outputs"][0]["data"] == [-1.0, -2.0]
