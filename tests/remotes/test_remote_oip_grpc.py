"""Models over the Open Inference Protocol and gRPC: our scripted server, and a real MLServer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from remote_house import ADDED, ADDER_ROWS, ORDER_ROWS, ORDER_VALUES, free_port

from splice.adapters.remotes.oip_grpc import OipGrpcRuntime
from splice.core.versions import Endpoint
from splice.testing.contracts.remotes import Known, RemoteContract
from splice.testing.oip_grpc_server import OipGrpcServer


@pytest.fixture
async def runtime() -> AsyncIterator[OipGrpcRuntime]:
    made = OipGrpcRuntime({"KEY": "a secret"})
    yield made
    await made.close()


class TestScripted(RemoteContract):
    @pytest.fixture(scope="class", params=["raw", "typed"])
    @classmethod
    def server(cls, request: pytest.FixtureRequest) -> Iterator[OipGrpcServer]:
        with OipGrpcServer() as server:
            server.raw = request.param == "raw"
            yield server

    @pytest.fixture
    def known(self, server: OipGrpcServer) -> Known:
        at = Endpoint("oip-grpc", server.url, "adder")
        return Known(
            at,
            ADDER_ROWS,
            ADDED,
            {"a": 1.0, "b": "2"},
            msgspec.structs.replace(at, model="subtracter"),
            msgspec.structs.replace(at, url=f"grpc://127.0.0.1:{free_port()}"),
            ("a", "b"),
        )


@pytest.mark.mlserver
class TestMLServer(RemoteContract):
    @pytest.fixture
    def known(self, mlserver) -> Known:
        options = {"outputs": ["probability", "action"]}
        at = Endpoint("oip-grpc", f"grpc://{mlserver.grpc}", mlserver.model, "2", options=options)
        return Known(
            at,
            ORDER_ROWS,
            ORDER_VALUES,
            {"amount_eur": 5.0, "items": 1.5, "country": "DE"},
            msgspec.structs.replace(at, model="no-such-model"),
            msgspec.structs.replace(at, url=f"grpc://127.0.0.1:{free_port()}"),
        )
