"""A model behind an endpoint that is Splice itself: HTTP, gRPC, and SageMaker's container."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from remote_house import free_port
from sagemaker_stand_in import KEYS, REGION, SageMakerStandIn

from splice.adapters.remotes.oip import OipRuntime
from splice.adapters.remotes.oip_grpc import OipGrpcRuntime
from splice.adapters.remotes.sagemaker import SageMakerRuntime
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint
from splice.ports.hosts import RemoteRuntime
from splice.testing.contracts.remotes import Known, RemoteContract
from splice.testing.project import Project

SOURCE = '''
from typing import Literal

import splice


class Order(splice.Request):
    amount_eur: float
    items: int
    country: str = "DE"


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    if context["country"] == "XX":
        raise ValueError("no such country")
    return min(1.0, context["amount_eur"] / 1000 + context["items"] / 100)


class OrderScreening(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "10 s"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")
'''
ROWS: list[dict[str, Any]] = [
    {"amount_eur": 900.0, "items": 5, "country": "FR"},
    {"amount_eur": 10, "items": 1, "country": "DE"},
    {"amount_eur": 501.0, "items": 0, "country": "München"},
]


class At(NamedTuple):
    http: str
    grpc: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    port = free_port()
    folder = tmp_path_factory.mktemp("served") / "project"
    project = Project(folder, f'[project]\nmodules = ["integrations"]\n[oip]\ngrpc_port = {port}\n')
    project.declare(SOURCE)
    applied = project.run("release", "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    with project.serve() as server:
        yield At(server.url, f"grpc://127.0.0.1:{port}")


def _known(at: Endpoint, away: str) -> Known:
    return Known(
        at,
        ROWS,
        ["review", "ship", "review"],
        {"amount_eur": 5.0, "items": 1.5, "country": "DE"},
        msgspec.structs.replace(at, model="no-such-integration"),
        msgspec.structs.replace(at, url=f"{away}://127.0.0.1:{free_port()}"),
    )


OUTPUTS = {"outputs": ["risk", "action"]}


class TestOverHttp(RemoteContract):
    @pytest.fixture
    async def runtime(self) -> AsyncIterator[RemoteRuntime]:
        made = OipRuntime({})
        yield made
        await made.close()

    @pytest.fixture(params=["json", "binary"])
    def known(self, server: At, request: pytest.FixtureRequest) -> Known:
        options = {**OUTPUTS, "binary": request.param == "binary"}
        return _known(Endpoint("oip", server.http, "order-screening", options=options), "http")


class TestOverGrpc(RemoteContract):
    @pytest.fixture
    async def runtime(self) -> AsyncIterator[RemoteRuntime]:
        made = OipGrpcRuntime({})
        yield made
        await made.close()

    @pytest.fixture
    def known(self, server: At) -> Known:
        at = Endpoint("oip-grpc", server.grpc, "order-screening", options=OUTPUTS)
        return _known(at, "grpc")


class TestAsSageMakersContainer(RemoteContract):
    @pytest.fixture
    async def runtime(self) -> AsyncIterator[RemoteRuntime]:
        made = SageMakerRuntime(KEYS)
        yield made
        await made.close()

    @pytest.fixture
    def known(self, server: At) -> Iterator[Known]:
        options = {"named": True, "score": "risk", "label": "action"}
        with SageMakerStandIn() as stand_in:
            stand_in.container = server.http
            at = Endpoint("sagemaker", stand_in.url, "adder", region=REGION, options=options)
            names = {"amount_eur": "FP64", "items": "INT64", "country": "BYTES"}
            inputs = tuple(Column(name, kind, (-1,)) for name, kind in names.items())
            yield _known(at, "http")._replace(signature=Signature(inputs=inputs))
