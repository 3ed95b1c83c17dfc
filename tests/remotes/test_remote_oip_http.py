"""Models over the Open Inference Protocol and HTTP: our scripted server, and a real MLServer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from remote_house import ADDED, ADDER_ROWS, ORDER_ROWS, ORDER_VALUES, free_port

from splice.adapters.remotes.oip import OipRuntime
from splice.core.versions import Endpoint
from splice.testing.contracts.remotes import Known, RemoteContract
from splice.testing.oip_server import OipServer


@pytest.fixture
async def runtime() -> AsyncIterator[OipRuntime]:
    made = OipRuntime({"KEY": "a secret"})
    yield made
    await made.close()


class TestScripted(RemoteContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[OipServer]:
        with OipServer() as server:
            yield server

    @pytest.fixture(params=["json", "binary"])
    def known(self, server: OipServer, request: pytest.FixtureRequest) -> Known:
        options = {"binary": request.param == "binary"}
        at = Endpoint("oip", server.url, "adder", options=options)
        return Known(
            at,
            ADDER_ROWS,
            ADDED,
            {"a": 1.0, "b": "2"},
            msgspec.structs.replace(at, model="subtracter"),
            msgspec.structs.replace(at, url=f"http://127.0.0.1:{free_port()}"),
            ("a", "b"),
        )


@pytest.mark.mlserver
class TestMLServer(RemoteContract):
    @pytest.fixture(params=["1", "2"])
    def known(self, mlserver, request: pytest.FixtureRequest) -> Known:
        options = {"outputs": ["probability", "action"]}
        at = Endpoint("oip", mlserver.http, mlserver.model, request.param, options=options)
        return Known(
            at,
            ORDER_ROWS,
            ORDER_VALUES,
            {"amount_eur": 5.0, "items": 1.5, "country": "DE"},
            msgspec.structs.replace(at, model="no-such-model"),
            msgspec.structs.replace(at, url=f"http://127.0.0.1:{free_port()}"),
        )
