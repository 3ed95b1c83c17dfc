"""Rows of one request: one run of the model, all read before any runs, each a recorded call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from oip_house import ORDERS, calls_of, orders, recorded, tensor

from splice.testing.project import Server


def infer(server: Server, model: str, body: Any, **headers: str) -> Any:
    return server.post(f"/v2/models/{model}/infer", body, **headers)


def test_the_rows_of_one_request_are_one_run_of_the_model(server: Server) -> None:
    answer = infer(server, "runs", orders(37))

    assert answer.status == 200
    (risk, _) = answer.json["outputs"]
    # The model says how many rows its run had: each of the 37 was in a run of 37.
    assert [round(one, 6) for one in risk["data"]] == [0.037] * 37


def test_each_row_is_a_call_in_the_ledger(server: Server) -> None:
    answer = infer(server, "orders", orders(3)).json

    ids = json.loads(answer["parameters"]["splice_call_ids"])
    calls = [recorded(server, one) for one in ids]
    assert [one["input"]["customer"] for one in calls] == ["c-0", "c-1", "c-2"]
    assert [one["reply"]["action"] for one in calls] == ["ship", "review", "ship"]
    assert {one["surface"] for one in calls} == {"oip"}


def test_the_parameters_of_a_single_row_name_its_call_route_version_and_cost(
    server: Server,
) -> None:
    answer = infer(server, "orders", orders(1, id="7"))

    told = answer.json["parameters"]
    assert answer.json["id"] == "7"
    assert (told["splice_route"], told["splice_reason"]) == ("rule:scorecard", "first")
    assert told["splice_version"].startswith("scorecard source ")
    assert told["splice_cost"] == 0.0
    assert answer.headers["splice-call-id"] == told["splice_call_id"]


@pytest.mark.parametrize(
    ("change", "place", "got"),
    [
        ({"datatype": "INT64", "data": [1, 2]}, "orders.inputs.customer.datatype", "INT64"),
        ({"shape": [3]}, "orders.inputs.customer.data", "2 values"),
        ({"shape": [2, 2], "data": ["a", "b", "c", "d"]}, "orders.inputs.customer.shape", "[2, 2]"),
        ({"shape": [1], "data": ["a"]}, "orders.inputs.amount.shape", "2 rows"),
        ({"name": "client"}, "orders.inputs.client", "an unknown input"),
        ({"name": "amount", "datatype": "FP64", "data": [1.0, 2.0]},
         "orders.inputs.amount", "the same input twice"),
        ({"data": ["a", 5]}, "orders.inputs.customer.data[1]", "an int"),
        ({"data": ["a", ""]}, "orders.input[1].customer", ""),
        ({"data": ["a", None]}, "orders.inputs.customer.data[1]", "null"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_in_one_row_runs_none_and_says_which(
    server: Server, change: dict[str, Any], place: str, got: str
) -> None:
    body = orders(2)
    body["inputs"][0] |= change
    before = calls_of(server, "orders")

    answer = infer(server, "orders", body)

    assert answer.status == 400
    assert answer.json["error"].startswith(f"{place}: got {got}"), answer.json
    assert calls_of(server, "orders") == before


def test_a_missing_field_is_named_with_its_row(server: Server) -> None:
    body = orders(2)
    body["inputs"].pop()

    answer = infer(server, "orders", body)

    assert answer.status == 400
    assert answer.json["error"].startswith("orders.input[0].amount: got nothing")


def test_more_rows_than_the_setting_allows_are_refused(server: Server) -> None:
    assert infer(server, "orders", orders(300)).status == 200

    answer = infer(server, "orders", orders(301))

    assert answer.status == 400
    assert "got 301 rows, expected at most 300 rows" in answer.json["error"]
    assert "oip.max_rows" in answer.json["error"]


def test_a_request_fails_with_the_first_row_that_failed_and_the_others_are_recorded(
    server: Server,
) -> None:
    before = calls_of(server, "picky")

    answer = infer(server, "picky", {"inputs": [tensor("seconds", "FP64", [0.1, 2.0, 0.2, 3.0])]})

    assert answer.status == 503
    assert answer.json["error"].startswith("row 1: picky: got no answer from any route")
    assert answer.json["row"] == 1
    failed = recorded(server, answer.json["call_id"])
    assert (failed["input"], failed["status"]) == ({"seconds": 2.0}, "failed")
    assert calls_of(server, "picky") == before + 4


def test_an_idempotency_key_gives_the_stored_answer_again_and_is_refused_for_several_rows(
    server: Server,
) -> None:
    first = infer(server, "orders", orders(1), idempotency_key="order-1").json["parameters"]

    again = infer(server, "orders", orders(1), idempotency_key="order-1").json["parameters"]
    other = infer(server, "orders", orders(1, id="8") | {"inputs": orders(2)["inputs"]},
                  idempotency_key="order-2")  # fmt: skip

    assert again["splice_call_id"] == first["splice_call_id"]
    assert (first["splice_reason"], again["splice_reason"]) == ("first", "repeated")
    assert other.status == 400
    assert "one key for 2 rows" in other.json["error"]


def everything(rows: int) -> list[dict[str, Any]]:
    return [
        tensor("number", "FP32", [0.5] * rows),
        tensor("whole", "INT32", [-3] * rows),
        tensor("yes", "BOOL", [True] * rows),
        tensor("text", "BYTES", ['"é"'] * rows),
        tensor("day", "BYTES", ["2026-11-28"] * rows),
        tensor("colour", "BYTES", ["red"] * rows),
        tensor("numbers", "FP64", [1.5, 2.5, 3.5] * rows, [rows, 3]),
        tensor("words", "BYTES", ["a", "b"] * rows, [rows, 2]),
        tensor("point", "BYTES", ['{"x": 1}'] * rows),
        tensor("anything", "BYTES", ['{"a": [1, null]}'] * rows),
    ]


@pytest.mark.parametrize("rows", [1, 3])
def test_every_kind_of_field_travels_as_a_tensor_and_back(server: Server, rows: int) -> None:
    answer = infer(server, "echo", {"inputs": everything(rows)})

    assert answer.status == 200, answer.json
    outputs = {one["name"]: (one["datatype"], one["data"]) for one in answer.json["outputs"]}
    assert outputs == {
        "number": ("FP64", [0.5] * rows),
        "whole": ("INT64", [-3] * rows),
        "yes": ("BOOL", [True] * rows),
        "text": ("BYTES", ['"é"'] * rows),
        "day": ("BYTES", ["2026-11-28"] * rows),
        "colour": ("BYTES", ["red"] * rows),
        "numbers": ("BYTES", ["[1.5,2.5,3.5]"] * rows),
        "point": ("BYTES", ['{"x":1.0}'] * rows),
        "maybe": ("BYTES", ["null"] * rows),
        "late": ("INT64", [7] * rows),
    }


@pytest.mark.parametrize(
    ("name", "datatype", "data", "shape", "says"),
    [
        ("numbers", "FP64", [1.5], [1], "expected [N, K], K values in each of N rows"),
        ("numbers", "BYTES", ["[1.5]"], [1], "got BYTES, expected FP64 or FP32"),
        ("point", "BYTES", ['{"x":1},"y":{"x":2}'], [1], "a text that is no JSON"),
        ("point", "BYTES", ['{"x":1,"x":2}'], [1], "the key 'x' twice"),
        ("colour", "BYTES", ["blue"], [1], "echo.input.colour: got"),
        ("whole", "INT64", [2**70], [1], "a value out of its bounds"),
        ("whole", "UINT8", [256], [1], "a value out of its bounds"),
        ("whole", "FP64", [1.0], [1], "got FP64, expected INT64 or INT32"),
        ("number", "FP64", [10**400], [1], "a value out of its bounds"),
        ("number", "COMPLEX", [1], [1], "'COMPLEX', expected one of BOOL"),
    ],
)
def test_a_value_that_is_not_of_its_field_is_named(
    server: Server, name: str, datatype: str, data: list[Any], shape: list[int], says: str
) -> None:
    inputs = [one for one in everything(1) if one["name"] != name]

    answer = infer(server, "echo", {"inputs": [*inputs, tensor(name, datatype, data, shape)]})

    assert answer.status == 400
    assert says in answer.json["error"]


def test_a_whole_number_that_int64_cannot_hold_is_told_and_not_cut(server: Server) -> None:
    inputs = [one for one in everything(1) if one["name"] != "whole"]

    answer = infer(server, "echo", {"inputs": [*inputs, tensor("whole", "UINT64", [2**64 - 1])]})

    assert answer.status == 400
    assert "outputs.whole: got a whole number beyond 64 bits" in answer.json["error"]


def test_a_request_without_inputs_is_refused(server: Server) -> None:
    answer = server.post(ORDERS, {"inputs": []})

    assert answer.status == 400
    assert "expected tensors of customer, amount, items, note" in answer.json["error"]
