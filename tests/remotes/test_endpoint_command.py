"""`splice models endpoint`: what is registered and what is refused, the endpoint there or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from remote_house import free_port

from splice.control.endpoints import artifact_of, column_of
from splice.core.errors import DeclarationError
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.testing.oip_server import OipServer, Said


@pytest.fixture(scope="module")
def server() -> Iterator[OipServer]:
    with OipServer() as server:
        yield server


def _versions(command: Any) -> list[dict[str, Any]]:
    return command("models", "list", "--json").json


def test_a_model_is_registered_with_what_its_endpoint_says(command, server: OipServer) -> None:
    ran = command("models", "endpoint", "adder", server.url, "--version", "2")

    assert ran.code == 0, ran.err
    assert "x  FP32[-1, 2]" in ran.out
    assert "sum  FP32[-1, 1]" in ran.out
    (kept,) = _versions(command)
    assert kept["version"]["format"] == "remote"
    assert kept["version"]["source"] == server.url
    assert kept["aliases"] == ["champion"]


def test_the_same_endpoint_keeps_its_number_and_another_gets_the_next(
    command, server: OipServer
) -> None:
    command("models", "endpoint", "adder", server.url)
    again = command("models", "endpoint", "adder", server.url)
    other = command("models", "endpoint", "adder", server.url, "--version", "1")
    changed = command(
        "models", "endpoint", "adder", server.url, "--classes", "low,high", "--alias", ""
    )

    assert "already" in again.err
    assert [one.out.split()[0] for one in (again, other, changed)] == [
        "adder@1", "adder@2", "adder@3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "subtracter"], "no such model"),
        (["--output", "product"], "sum"),
        (["--option", "lane=2"], "lane"),
        (["--option", "lanes"], "KEY=VALUE"),
        (["--option", "lanes=0"], "lanes"),
        (["--input", "x:FLOAT"], "FP32"),
        (["--key-env", "NOT_SET"], "endpoint_keys"),
        (["--protocol", "carrier-pigeon"], "oip-grpc"),
        (["--protocol", "sagemaker"], "--region"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_registered(
    command, server: OipServer, arguments: list[str], words: str
) -> None:
    ran = command("models", "endpoint", "adder", server.url, *arguments)

    assert ran.code in (1, 2)
    assert words in ran.err
    assert _versions(command) == []


def test_a_model_that_says_nothing_of_its_inputs_is_registered_only_by_hand(
    command, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = b'{"name":"adder","inputs":[{"name":"x","datatype":"FP8","shape":[-1]}]}'
    monkeypatch.setattr(server, "answer", lambda asked: Said(200, silent))

    asked = command("models", "endpoint", "adder", server.url)
    by_hand = command("models", "endpoint", "adder", server.url, "--input", "x:FP32[-1,2]")

    assert asked.code == 1
    assert "FP8" in asked.err
    assert "--input" in asked.err
    assert by_hand.code == 0, by_hand.err


def test_a_name_that_no_route_could_use_is_refused(command, server: OipServer) -> None:
    ran = command("models", "endpoint", "../adder", server.url, "--model", "adder")

    assert ran.code == 1
    assert _versions(command) == []


def test_an_endpoint_that_is_away_is_registered_only_with_its_inputs(command) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    away = command("models", "endpoint", "adder", url)
    by_hand = command(
        "models", "endpoint", "adder", url, "--input", "a:FP64", "--input", "b:FP64",
        "--output", "sum:FP64", "--output", "label",
    )  # fmt: skip

    assert away.code == 1
    assert "refused" in away.err
    assert by_hand.code == 0, by_hand.err
    (kept,) = _versions(command)
    signature = kept["version"]["signature"]
    assert [one["name"] for one in signature["inputs"]] == ["a", "b"]
    assert [one["name"] for one in signature["outputs"]] == ["sum"]


def test_a_sagemaker_endpoint_is_registered_without_its_keys(command) -> None:
    ran = command(
        "models", "endpoint", "fraud", "--protocol", "sagemaker", "--region", "eu-central-1",
        "--model", "fraud-prod", "--input", "instances:FP64[-1,3]", "--alias", "",
        "--option", 'answer=["a"]',
    )  # fmt: skip
    good = command(
        "models", "endpoint", "fraud", "--protocol", "sagemaker", "--region", "eu-central-1",
        "--model", "fraud-prod", "--input", "instances:FP64[-1,3]", "--alias", "",
        "--option", "answer=result.scores",
    )  # fmt: skip

    assert ran.code == 1
    assert "answer" in ran.err
    assert good.code == 0, good.err
    assert "AWS_ACCESS_KEY_ID" in good.err  # where it is called, it will be needed
    (kept,) = _versions(command)
    assert kept["aliases"] == []


def test_an_alias_does_not_move_to_other_inputs_unasked(command, server: OipServer) -> None:
    command("models", "endpoint", "adder", server.url)
    other = ["models", "endpoint", "adder", server.url, "--input", "a:FP64", "--input", "b:FP64"]

    refused = command(*other)
    moved = command(*other, "--new-signature")

    assert refused.code == 1
    assert "--new-signature" in refused.err
    assert moved.code == 0, moved.err


def test_the_ledger_never_holds_the_secret(
    command, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.settings('[models]\nendpoint_keys = ["ADDER_KEY"]\n')
    monkeypatch.setenv("ADDER_KEY", "hush-hush-hush")

    ran = command("models", "endpoint", "adder", server.url, "--key-env", "ADDER_KEY")

    assert ran.code == 0, ran.err
    assert server.asked[-1].headers["authorization"] == "Bearer hush-hush-hush"
    files = [file for file in command.folder.rglob("*") if file.is_file()]
    assert files
    assert not any(b"hush-hush" in file.read_bytes() for file in files)


def test_a_secret_that_is_not_listed_is_not_read(
    command, server: OipServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "somebody else's")
    asked = len(server.asked)

    ran = command("models", "endpoint", "adder", server.url, "--key-env", "OPENAI_API_KEY")

    assert ran.code == 1
    assert "endpoint_keys" in ran.err
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("amount:FP32", Column("amount", "FP32", (-1,))),
        ("x:FP64[-1, 4]", Column("x", "FP64", (-1, 4))),
        ("a b:BYTES[1]", Column("a b", "BYTES", (1,))),
    ],
)
def test_a_column_is_read_as_it_is_written(text: str, column: Column) -> None:
    assert column_of(text) == column


@pytest.mark.parametrize(
    "text", ["", "x", ":FP32", "x:", "x:fp32", "x:FP32[]", "x:FP32[0]", "x:FP32[-2]", "x:FP32[1,]",
             "x:FP32[a]", "x:FP32[1", " :FP32"]
)  # fmt: skip
def test_a_column_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError):
        column_of(text)


def test_an_artifact_is_the_same_for_the_same_and_another_for_another_signature() -> None:
    one = Endpoint("oip", "http://h", "m", options={"b": 1, "a": 2})
    same = Endpoint("oip", "http://h", "m", options={"a": 2, "b": 1})
    signature = Signature(inputs=(Column("x", "FP32", (-1, 2)),))
    other = Signature(inputs=(Column("x", "FP32", (-1, 3)),))

    assert artifact_of(one, signature) == artifact_of(same, signature)
    assert artifact_of(one, signature) != artifact_of(one, other)
    assert json.loads(artifact_of(one, signature))["url"] == "http://h"


DECLARED = '''
import splice


class Pair(splice.Request):
    a: float
    b: float


class Sum(splice.Reply):
    value: float


class Adding(splice.Integration):
    """Add two numbers."""

    routes = [splice.Model("adder", features=["a", "b"]), splice.Rule(lambda context: 0.0)]

    def decide(self, pair: Pair, prediction: splice.Prediction) -> Sum:
        return Sum(prediction.value)
'''


def test_a_check_says_which_endpoint_is_away_and_is_no_failure(command) -> None:
    command.write("integrations.py", DECLARED)
    with OipServer() as server:
        added = command("models", "endpoint", "adder", server.url)
        there = command("check")
        server.fault = "not ready"
        unready = command("check")
    away = command("check")

    assert added.code == 0, added.err
    assert (there.code, unready.code, away.code) == (0, 0, 0)
    assert "adder@1" not in there.err
    assert "adder@1" in unready.err
    assert "503" in unready.err
    assert "refused" in away.err
    assert "fall back" in away.err
