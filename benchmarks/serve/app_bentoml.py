"""The model behind BentoML: one path a form of endpoint, one service a configuration."""

from __future__ import annotations

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType, Shape
from onnx_model import OnnxModel
from pydantic import BaseModel

Batch = Annotated[np.ndarray, DType("float32"), Shape((-1, 30))]


class Answer(BaseModel):
    """What the model said of one row."""

    probability: float


class Forms:
    """The endpoints."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    @bentoml.api(route="/numpy")
    def numpy(self, features: Batch) -> np.ndarray:
        """The documentation's usual form: arrays both ways, run in the thread pool."""
        return self.model.probability(features)

    @bentoml.api(route="/asynchronous")
    async def asynchronous(self, features: Batch) -> np.ndarray:
        """Arrays both ways, in the event loop."""
        return self.model.probability(features)

    @bentoml.api(route="/typed")
    async def typed(self, features: list[float]) -> Answer:
        """Plain types in the event loop; a pydantic reply spares a JSON schema per answer."""
        return Answer(probability=self.model.one(features))

    @bentoml.api(route="/batched", batchable=True, max_batch_size=128, max_latency_ms=1000)
    async def batched(self, features: Batch) -> np.ndarray:
        """Adaptive batching, in the event loop."""
        return self.model.probability(np.ascontiguousarray(features, dtype=np.float32))


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
