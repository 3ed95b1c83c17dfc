"""A model for MLServer: a logistic regression over three named inputs, of three datatypes.

Inputs, each of shape [n] or [n, 1]: `amount_eur` FP32, `items` INT64, `country` BYTES.
Outputs, each of shape [n]: `probability` FP32, `items_above_five` INT64, `action` BYTES.
The request's parameter `delay_s` holds the answer back, for tests of deadlines.
"""

from __future__ import annotations

import asyncio

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput

INTERCEPT = -2.0
PER_EUR = {"1": 0.004, "2": 0.005}  # by version, so that the versions can be told apart
PER_ITEM = 0.1
PER_COUNTRY = {"DE": 0.0, "FR": 0.25, "ZZ": 1.5}
REVIEW_ABOVE = 0.5


class OrderRisk(MLModel):
    """How likely it is that an order is not paid."""

    async def load(self) -> bool:
        """Nothing to read: the weights are above."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A probability and an action a row."""
        given = {one.name: one for one in payload.inputs}
        amounts = _numbers(given, "amount_eur", "FP32")
        items = _numbers(given, "items", "INT64")
        countries = StringCodec.decode_input(_one(given, "country", "BYTES"))
        if not len(amounts) == len(items) == len(countries):
            raise InferenceError("the inputs have different numbers of rows")
        if unknown := set(countries) - set(PER_COUNTRY):
            raise InferenceError(f"unknown country: {', '.join(sorted(unknown))}")
        await asyncio.sleep(float(getattr(payload.parameters, "delay_s", 0.0) or 0.0))
        version = str(self.version)
        logits = INTERCEPT + PER_EUR[version] * amounts + PER_ITEM * items
        logits = logits + numpy.array([PER_COUNTRY[one] for one in countries])
        probability = (1.0 / (1.0 + numpy.exp(-logits))).astype(numpy.float32)
        action = ["review" if one > REVIEW_ABOVE else "ship" for one in probability]
        outputs = [
            NumpyCodec.encode_output("probability", probability),
            NumpyCodec.encode_output("items_above_five", (items > 5).astype(numpy.int64)),
            StringCodec.encode_output("action", action),
        ]
        for output in outputs:
            output.shape = [len(action)]
        return InferenceResponse(
            model_name=self.name, model_version=version, id=payload.id, outputs=outputs
        )


def _numbers(given: dict[str, RequestInput], name: str, datatype: str) -> numpy.ndarray:
    return NumpyCodec.decode_input(_one(given, name, datatype)).reshape(-1)


def _one(given: dict[str, RequestInput], name: str, datatype: str) -> RequestInput:
    if name not in given:
        raise InferenceError(f"input {name} is missing")
    if given[name].datatype != datatype:
        raise InferenceError(f"input {name} is {given[name].datatype} instead of {datatype}")
    return given[name]
