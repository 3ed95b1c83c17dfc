"""A model behind KServe's own server: it is made with KServe's SDK, in a Python of its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from remote_house import free_port

from splice.adapters.remotes.oip import OipRuntime
from splice.adapters.remotes.oip_grpc import OipGrpcRuntime
from splice.core.call import Prediction
from splice.core.errors import ModelMismatch
from splice.core.versions import Endpoint
from splice.ports.hosts import RemoteRuntime
from splice.testing.contracts.remotes import Known, RemoteContract, opened

pytestmark = pytest.mark.peers

ROWS: list[dict[str, Any]] = [
    {"customer": "a", "amount": 900.0},
    {"customer": "Zoë", "amount": 10},
    {"customer": "c", "amount": 640.5},
]


class At(NamedTuple):
    http: str
    grpc: str


@pytest.fixture(scope="module")
def server(kserve_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    http, grpc = free_port(), free_port()
    log = tmp_path_factory.mktemp("kserve") / "server.log"
    script = Path(__file__).parent / "kserve_model.py"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [kserve_python, script, str(http), str(grpc)], stdout=sink, stderr=sink
        )
    try:
        give_up = time.monotonic() + 120
        while not (_listens(http) and _listens(grpc)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.1)
        yield At(f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}")
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _known(at: Endpoint) -> Known:
    scheme = at.url.partition(":")[0]
    return Known(
        at,
        ROWS,
        ["review", "ship", "review"],
        {"customer": 7, "amount": 1.0},
        msgspec.structs.replace(at, model="none"),
        msgspec.structs.replace(at, url=f"{scheme}://127.0.0.1:{free_port()}"),
    )


class TestOverHttp(RemoteContract):
    @pytest.fixture
    async def runtime(self) -> AsyncIterator[RemoteRuntime]:
        made = OipRuntime({})
        yield made
        await made.close()

    @pytest.fixture(params=["json", "binary"])
    def known(self, server: At, request: pytest.FixtureRequest) -> Known:
        binary = {"binary": request.param == "binary"}
        return _known(Endpoint("oip", server.http, "orders", options=binary))

    async def test_a_row_that_it_refuses_costs_its_neighbours_nothing(
        self, runtime: RemoteRuntime, known: Known
    ) -> None:
        model = opened(runtime, known)
        await model.infer(ROWS, 20)

        results = await model.infer([ROWS[0], {"customer": "nobody", "amount": 0}, ROWS[1]], 20)

        assert [type(one) for one in results] == [Prediction, ModelMismatch, Prediction]


class TestOverGrpc(RemoteContract):
    @pytest.fixture
    async def runtime(self) -> AsyncIterator[RemoteRuntime]:
        made = OipGrpcRuntime({})
        yield made
        await made.close()

    @pytest.fixture
    def known(self, server: At) -> Known:
        return _known(Endpoint("oip-grpc", server.grpc, "orders"))
