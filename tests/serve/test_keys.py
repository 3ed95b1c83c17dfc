"""One idempotency key, one execution, over HTTP and across workers."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serve_project import INTEGRATIONS, TOML, calls_in

from splice.testing.project import Answer, Project

WAITS, ORDERS = "/v1/integrations/waits/calls", "/v1/integrations/orders/calls"


def reply_of(answer: Answer) -> bytes:
    """The bytes of the reply inside the answer."""
    return answer.body.partition(b'"reply":')[2].partition(b',"route"')[0]


def test_duplicates_at_once_on_two_workers_execute_once_and_get_one_answer(tmp_path: Path) -> None:
    own = Project(tmp_path / "p", TOML)
    own.declare(INTEGRATIONS)
    with own.serve(workers=2) as pair, ThreadPoolExecutor(16) as pool:
        for round_ in range(4):
            asked = [
                pool.submit(pair.post, WAITS, {"seconds": 0.1}, idempotency_key=f"k{round_}")
                for _ in range(16)
            ]
            answers = [one.result() for one in asked]

            assert {answer.status for answer in answers} == {200}
            assert len({answer.json["call_id"] for answer in answers}) == 1
            assert len({reply_of(answer) for answer in answers}) == 1
            reasons = Counter(answer.json["reason"] for answer in answers)
            assert reasons == {"first": 1, "repeated": 15}
            replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
            assert Counter(replayed) == {"true": 15, None: 1}
        assert calls_in(own) == 4


def test_a_repeated_call_after_a_restart_gets_the_first_answer(tmp_path: Path) -> None:
    own = Project(tmp_path / "p", TOML)
    own.declare(INTEGRATIONS)
    body = json.dumps({"customer": "c", "amount": 5}).encode()
    with own.serve() as server:
        first = server.post(ORDERS, body, idempotency_key="k")
        server.kill()

    with own.serve() as server:
        second = server.post(ORDERS, body, idempotency_key="k")
        other = server.post(ORDERS, body + b" ", idempotency_key="k")

    assert second.json["call_id"] == first.json["call_id"]
    assert reply_of(second) == reply_of(first)
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert calls_in(own) == 1


@pytest.mark.parametrize("how", ["decide raises", "context raises"])
def test_a_call_that_failed_frees_its_key(tmp_path: Path, how: str) -> None:
    own = Project(tmp_path / "p", TOML)
    own.declare(INTEGRATIONS)
    with own.serve() as server:
        path, body = "/v1/integrations/faults/calls", {"how": how}
        first = server.post(path, body, idempotency_key="k")
        second = server.post(path, body, idempotency_key="k")

    assert (first.status, second.status) == (500, 500)
    assert first.json["call_id"] != second.json["call_id"]
