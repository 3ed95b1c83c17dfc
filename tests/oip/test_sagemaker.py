"""SageMaker's container contract, as a plain process: /ping, /invocations, and the Dockerfile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from oip_house import TOML, calls_of, project_in, recorded

from splice.testing.project import Server

ROOT = Path(__file__).parents[2]
GOOD = {"customer": "c-1", "amount": 900.0}
SMALL = {"customer": "c-2", "amount": 5}
REVIEW, SHIP = {"risk": 0.9, "action": "review"}, {"risk": 0.1, "action": "ship"}


def invoke(server: Server, body: Any, **headers: str) -> Any:
    return server.post("/invocations", body, **headers)


def test_ping_is_answered_once_calls_can_be_taken(server: Server) -> None:
    assert server.get("/ping").status == 200
    assert server.post("/ping", {}).status == 405


def test_one_object_is_one_call(server: Server) -> None:
    answer = invoke(server, GOOD)

    assert (answer.status, answer.json) == (200, REVIEW)
    call = recorded(server, answer.headers["splice-call-id"])
    assert (call["surface"], call["input"]) == ("sagemaker", GOOD)
    told = answer.headers["x-amzn-sagemaker-custom-attributes"]
    assert told == f"integration=orders;release=1;call_id={call['call_id']}"


def test_a_list_is_answered_by_a_list_and_instances_by_predictions(server: Server) -> None:
    assert invoke(server, [GOOD, SMALL]).json == [REVIEW, SHIP]
    assert invoke(server, {"instances": [SMALL, GOOD]}).json == {"predictions": [SHIP, REVIEW]}


def test_json_lines_are_answered_line_by_line(server: Server) -> None:
    body = json.dumps(GOOD) + "\n\n" + json.dumps(SMALL) + "\n"

    answer = invoke(server, body.encode(), content_type="application/jsonlines")

    assert [json.loads(line) for line in answer.body.splitlines()] == [REVIEW, SHIP]
    assert answer.headers["content-type"] == "application/jsonlines"


@pytest.mark.parametrize(
    "body",
    [
        "c-1,900\nc-2,5\n",
        "c-1,900,3\r\nc-2,5,1\r\n",
        "amount,customer\n900,c-1\n5,c-2",
        '\ufeffcustomer,amount,note\nc-1,900,"a\nb"\nc-2,5,\n',
        "c-1,900,,a note\n\nc-2,5,,\n",
    ],
)
def test_csv_is_read_by_its_header_or_in_the_order_of_the_fields(server: Server, body: str) -> None:
    answer = invoke(server, body.encode(), content_type="text/csv; charset=utf-8")

    assert (answer.status, answer.body) == (200, b"0.9,review\n0.1,ship\n")
    assert answer.headers["content-type"] == "text/csv"


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/json", b'[{"risk":0.9,"action":"review"}]'),
        ("application/jsonlines", b'{"risk":0.9,"action":"review"}\n'),
        ("text/csv, */*;q=0.1", b"0.9,review\n"),
        ("*/*", b"0.9,review\n"),
    ],
)
def test_accept_says_in_what_the_reply_is_written(server: Server, accept: str, body: bytes) -> None:
    answer = invoke(server, b"c-1,900", content_type="text/csv", accept=accept)

    assert answer.body == body


def test_another_integration_is_asked_by_the_custom_attributes(server: Server) -> None:
    named = {"x_amzn_sagemaker_custom_attributes": "trace=1, integration=waits"}

    assert invoke(server, {"seconds": 0.01}, **named).json == {"seconds": 0.01}
    assert invoke(server, GOOD, x_amzn_sagemaker_custom_attributes="integration=no").status == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (b"{", "application/json", 400, "malformed JSON"),
        (b"[]", "application/json", 400, "got no rows"),
        (b"", "application/jsonlines", 400, "got no rows"),
        (b'[{"customer":"a","amount":1},{"customer":"a"}]', "application/json", 400,
         "orders.input[1].amount: got nothing"),
        (b'[{"customer":"a","amount":1},5]', "application/json", 400, "orders.input[1]: got"),
        (b'[{"customer":"a","customer":"b","amount":1}]', "application/json", 400,
         "the key 'customer' twice"),
        (b'{"customer":"a","amount":1}\n{', "application/jsonlines", 400, "orders.input[1]: got"),
        (b"a,1\nb\n", "text/csv", 400, "orders.input[1]: got 1 cells, expected 2"),
        (b"customer,price\na,1\n", "text/csv", 400, "orders.input[0].price: got an unknown field"),
        (b"a,many\n", "text/csv", 400, "orders.input[0].amount: got"),
        (b"a,nan\n", "text/csv", 400, "orders.input[0].amount: got"),
        (b'"a,1\n', "text/csv", 400, "no CSV"),
        (b"\xff,1\n", "text/csv", 400, "not UTF-8"),
        (b"a,1\n" * 301, "text/csv", 400, "at most 300 rows"),
        (b"x", "application/x-recordio-protobuf", 415, "expected application/json"),
        (b"[" * 5000, "application/json", 400, "orders.input: got"),
        (b"{}" * (1 << 20), "application/json", 413, "server.max_body_bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_json_and_nothing_runs(
    server: Server, body: bytes, content_type: str, status: int, says: str
) -> None:
    before = calls_of(server, "orders")

    answer = invoke(server, body, content_type=content_type)

    assert answer.status == status
    assert says in answer.json["error"]
    assert answer.headers["content-type"] == "application/json"
    assert calls_of(server, "orders") == before


def test_a_first_line_of_values_is_no_header_though_one_is_a_fields_name(server: Server) -> None:
    answer = invoke(server, b"amount,900\nc-2,5\n", content_type="text/csv")

    assert answer.body == b"0.9,review\n0.1,ship\n"


def test_an_answer_in_nothing_that_is_written_here_is_refused(server: Server) -> None:
    answer = invoke(server, GOOD, accept="image/png")

    assert answer.status == 415
    assert "image/png" in answer.json["error"]


def test_one_of_several_integrations_must_be_named(tmp_path: Path) -> None:
    project = project_in(tmp_path / "p", TOML.replace('integration = "orders"', ""))
    with project.serve() as server:
        unnamed = invoke(server, GOOD)
        named = invoke(server, GOOD, x_amzn_sagemaker_custom_attributes="integration=orders")

    assert (unnamed.status, named.status) == (404, 200)
    assert "sagemaker.integration" in unnamed.json["error"]


def test_the_image_runs_as_sagemaker_runs_it(tmp_path: Path) -> None:
    """As `docker run IMAGE serve` does: the entry point and the variables of the Dockerfile."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", dockerfile, re.M)[1])
    said = dict(re.findall(r"(SPLICE_\w+)=(\S+)", dockerfile))
    project = project_in(tmp_path / "p")

    # This machine's own address and a free port in place of the image's.
    with project.serve(env={**said, "SPLICE_ACCESS_KEYS": "open"}) as server:
        answer = invoke(server, GOOD)

    assert entry == ["splice"]
    assert (said["SPLICE_SERVER_HOST"], said["SPLICE_SERVER_PORT"]) == ("0.0.0.0", "8080")
    assert answer.json == REVIEW
