"""The model behind BentoML: one path a form of endpoint, one service a configuration."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType, Shape
from onnx_model import OnnxModel
from pydantic import BaseModel

MODELS = int(os.environ["MODELS"])
Endpoint = Callable[..., Awaitable[Any]]
Batch = Annotated[np.ndarray, DType("float32"), Shape((-1, 30))]


class Answer(BaseModel):
    """What the model said of one row."""

    probability: float


class Forms:
    """The endpoints."""

    def __init__(self) -> None:
        self.models = [OnnxModel() for _ in range(MODELS)]
        self.model = self.models[0]

    @bentoml.api(route="/numpy")
    def numpy(self, features: Batch) -> np.ndarray:
        """The documentation's usual form: arrays both ways, run in the thread pool."""
        return self.model.probability(features)

    @bentoml.api(route="/asynchronous")
    async def asynchronous(self, features: Batch) -> np.ndarray:
        """Arrays both ways, in the event loop."""
        return self.model.probability(features)


def typed(at: int) -> Endpoint:
    """Plain types in the event loop; a pydantic reply spares a JSON schema per answer."""

    async def endpoint(self: Forms, features: list[float]) -> Answer:
        return Answer(probability=self.models[at].one(features))

    return endpoint


def batched(at: int) -> Endpoint:
    """Adaptive batching, in the event loop."""

    async def endpoint(self: Forms, features: Batch) -> np.ndarray:
        return self.models[at].probability(np.ascontiguousarray(features, dtype=np.float32))

    return endpoint


def add(endpoint: Endpoint, form: str, at: int, **options: object) -> None:
    """One more endpoint; BentoML knows it by the name of its function."""
    number = at + 1
    endpoint.__name__ = f"{form}_{number}"
    api = bentoml.api(route=f"/{form}" if number == 1 else f"/{form}-{number}", **options)
    setattr(Forms, endpoint.__name__, api(endpoint))


for one in range(MODELS):
    add(typed(one), "typed", one)
    add(batched(one), "batched", one, batchable=True, max_batch_size=128, max_latency_ms=1000)


@bentoml.service(
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    monitoring={"enabled": False},
    tracing={"excluded_urls": ["/"]},
)
class Quiet(Forms):
    """Access log, metrics and monitoring off; the tracing middleware skips every URL."""


@bentoml.service(
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    monitoring={"enabled": False},
)
class Traced(Forms):
    """Access log, metrics and monitoring off; the tracing middleware as installed."""


@bentoml.service(workers=1)
class Defaults(Forms):
    """Everything as installed."""
