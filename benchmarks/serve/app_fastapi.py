"""The model behind FastAPI, as its documentation advises: async endpoint, typed both ways."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated

import orjson
from fastapi import FastAPI, Response
from onnx_model import OnnxModel
from pydantic import BaseModel, Field

MODELS = [OnnxModel() for _ in range(int(os.environ["MODELS"]))]
MODEL = MODELS[0]
app = FastAPI(openapi_url=None)


class Question(BaseModel):
    """One row."""

    features: Annotated[list[float], Field(min_length=30, max_length=30)]


class Answer(BaseModel):
    """What the model said of it."""

    probability: float


def typed(model: OnnxModel) -> Callable[[Question], Awaitable[Answer]]:
    """The answer serialised by pydantic from the response model: FastAPI's advice since 0.130."""

    async def answer(question: Question) -> Answer:
        return Answer(probability=model.one(question.features))

    return answer


for number, one in enumerate(MODELS, 1):
    app.post("/typed" if number == 1 else f"/typed-{number}")(typed(one))


@app.post("/orjson")
async def by_orjson(question: Question) -> Response:
    """The answer serialised by orjson, past the response model."""
    body = orjson.dumps({"probability": MODEL.one(question.features)})
    return Response(body, media_type="application/json")


@app.post("/thread", response_model=Answer)
def thread(question: Question) -> Answer:
    """A plain `def`, which FastAPI runs in its thread pool."""
    return Answer(probability=MODEL.one(question.features))
