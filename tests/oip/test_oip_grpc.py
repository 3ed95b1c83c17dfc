"""The gRPC service: statuses, keys, workers, stopping, what is wrong on the wire."""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from oip_house import (
    TOML,
    filled,
    grpc_of,
    orders,
    project_in,
    recorded,
    stopped_in_mid_call,
    until,
)
from tritonclient.utils import InferenceServerException

from splice.app.model_sections import OipSettings
from splice.app.sections import ServerSettings
from splice.app.serving import check_grpc
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.testing.project import Server

_Code = grpc.StatusCode


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(grpc_of(server)) as made:
        yield made


def seconds(*values: float) -> list[Any]:
    one = triton.InferInput("seconds", [len(values)], "FP64")
    one.set_data_from_numpy(np.array(values))
    return [one]


def status(ask: Any) -> str:
    with pytest.raises(InferenceServerException) as error:
        ask()
    return error.value.status().removeprefix("StatusCode.")


def test_statuses_say_whose_fault_it_is(client: triton.InferenceServerClient) -> None:
    amount = filled(triton, 1)[1]
    wrong = triton.InferRequestedOutput("nothing")

    assert status(lambda: client.infer("none", filled(triton, 1))) == "NOT_FOUND"
    assert status(lambda: client.infer("orders", [amount])) == "INVALID_ARGUMENT"
    assert (
        status(lambda: client.infer("orders", filled(triton, 1), outputs=[wrong]))
        == "INVALID_ARGUMENT"
    )
    assert status(lambda: client.infer("picky", seconds(2.0))) == "UNAVAILABLE"
    assert status(lambda: client.infer("late", seconds(20.0))) == "DEADLINE_EXCEEDED"
    assert status(lambda: client.infer("waits", seconds(2.0), client_timeout=0.1)) == (
        "DEADLINE_EXCEEDED"
    )


def test_a_failed_call_is_named_in_the_trailers(server: Server) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name="picky")
    request.inputs.add(name="seconds", datatype="FP64", shape=[1]).contents.fp64_contents.append(3)
    with grpc.insecure_channel(grpc_of(server)) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)

    trailers = dict(error.value.trailing_metadata())
    assert trailers["splice-code"] == "exhausted"
    call = recorded(server, trailers["splice-call-id"])
    assert (call["input"], call["surface"]) == ({"seconds": 3.0}, "oip-grpc")


def test_a_message_beyond_the_bound_is_refused(client: triton.InferenceServerClient) -> None:
    customer = triton.InferInput("customer", [1], "BYTES")
    customer.set_data_from_numpy(np.array(["x" * (1 << 20)], dtype=object))

    ask = lambda: client.infer("orders", [customer, filled(triton, 1)[1]])  # noqa: E731

    assert status(ask) == "RESOURCE_EXHAUSTED"


def test_a_message_that_unpacks_beyond_the_bound_is_refused(server: Server) -> None:
    bomb = b"\x3a" + b"\xff\xff\xff\x1f" + b"\0" * (64 << 20)  # field 7, a length, and nothing
    before = server.memory()

    with grpc.insecure_channel(grpc_of(server)) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as error:
            ask(bomb, compression=grpc.Compression.Gzip)

    assert error.value.code() is _Code.RESOURCE_EXHAUSTED
    assert server.memory() < before + (32 << 20)


def test_bytes_that_are_no_message_are_the_callers_mistake(server: Server) -> None:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name="orders", id="1")
    for one in filled(triton, 2):
        request.inputs.append(one._get_tensor())
        request.raw_input_contents.append(one._get_content())
    whole = request.SerializeToString()
    random_one = random.Random(7)
    found, odd = set(), []
    with grpc.insecure_channel(grpc_of(server)) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(1500):
            raw = bytearray(whole)
            for _ in range(random_one.randint(1, 4)):
                at = random_one.randrange(len(raw))
                change = random_one.randrange(3)
                if change == 0:
                    raw[at] = random_one.randrange(256)
                elif change == 1:
                    del raw[at : at + random_one.randint(1, 9)]
                else:
                    raw[at:at] = random_one.randbytes(random_one.randint(1, 9))
                raw = raw or bytearray(b"\0")
            try:
                ask(bytes(raw), timeout=30)
            except grpc.RpcError as error:
                found.add(error.code())
                if error.code() not in (_Code.INVALID_ARGUMENT, _Code.NOT_FOUND):
                    odd.append((error.code(), error.details(), bytes(raw)))
        rest = ask(whole, timeout=30)

    assert odd == []
    assert _Code.INVALID_ARGUMENT in found
    assert rest
    assert "nobody foresaw" not in server.log


def test_keys_are_shown_in_the_metadata(tmp_path: Path) -> None:
    project = project_in(tmp_path / "p", TOML + '[access]\nkeys = "required"\n')
    made = project.run("keys", "create", "robot", "--integrations", "orders", "--json")
    token = json.loads(made.stdout)["secret"]
    with project.serve() as server, triton.InferenceServerClient(grpc_of(server)) as client:
        rows = filled(triton, 1)
        assert client.is_server_live()
        assert client.is_server_ready()
        assert status(lambda: client.infer("orders", rows)) == "UNAUTHENTICATED"
        assert status(lambda: client.get_model_metadata("orders")) == "UNAUTHENTICATED"
        for shown in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}):
            assert client.infer("orders", rows, headers=shown).as_numpy("risk").tolist() == [0.1]
            index = client.get_model_repository_index(headers=shown)
            assert [one.name for one in index.models] == ["orders"]
            refused = status(lambda shown=shown: client.infer("runs", rows, headers=shown))
            assert refused == "PERMISSION_DENIED"


def test_an_idempotency_key_gives_the_stored_answer_again(
    client: triton.InferenceServerClient,
) -> None:
    ids = [
        client.infer("orders", filled(triton, 1), headers={"idempotency-key": "grpc-1"})
        .get_response()
        .parameters["splice_call_id"]
        .string_param
        for _ in range(2)
    ]

    assert ids[0] == ids[1]


def test_workers_share_one_port_and_what_runs_is_let_end(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    project = project_in(tmp_path / "p", TOML.replace("grpc_port = 0", f"grpc_port = {port}"))
    with project.serve(workers=2) as server:
        until(lambda: server.get("/readyz"), 200)
        answers: list[Any] = []

        def ask() -> None:
            with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
                answers.append(client.infer("waits", seconds(-1.0)).as_numpy("seconds").tolist())

        asking = [threading.Thread(target=ask) for _ in range(6)]
        for one in asking:
            one.start()
        while b"splice_calls_in_flight 6" not in server.get("/metrics").body:
            assert all(one.is_alive() for one in asking)
        code = stopped_in_mid_call(server, project)
        for one in asking:
            one.join()

    assert code == 0
    assert answers == [[-1.0]] * 6
    assert "oip.grpc_port" not in server.log  # both could listen


def settings(port: int, workers: int = 1) -> Settings:
    return Settings(oip=OipSettings(grpc_port=port), server=ServerSettings(workers=workers))


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(SettingsError) as error:
            check_grpc(settings(port))

    assert str(error.value).startswith(
        f"oip.grpc_port 127.0.0.1:{port}: got Address already in use"
    )
    check_grpc(settings(port))  # it is free again


def test_another_port_for_each_worker_of_several_is_one_clear_error() -> None:
    check_grpc(settings(0))

    with pytest.raises(SettingsError, match="got 0 with 2 workers"):
        check_grpc(settings(0, workers=2))


def test_a_port_without_grpc_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(SettingsError, match=r"oip\.grpc_port: got a port, and no gRPC"):
        check_grpc(settings(0))


def test_nothing_of_grpc_is_imported_where_no_port_is_set(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys; sys.modules['grpc'] = None; sys.modules['google'] = None\n"
    )
    project = project_in(tmp_path / "p", TOML.replace("grpc_port = 0\n", ""))

    with project.serve(env={"PYTHONPATH": str(hidden)}) as server:
        answer = server.post("/v2/models/orders/infer", orders(1))

    assert answer.status == 200
    assert "gRPC" not in server.log
