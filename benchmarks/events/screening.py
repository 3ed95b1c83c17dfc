"""The work of every peer: the model's probability of a payment, and the decision that follows."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from onnx_model import OnnxModel
from payments import Payment, Screening, action_of

SERVERS = os.environ["SERVERS"]
SOURCE, TARGET = os.environ["SOURCE"], os.environ["TARGET"]
GROUP = os.environ["GROUP"]
VARIANT = os.environ["VARIANT"]
BATCH = 1000
"""Events that are taken at once, where a peer takes several: as many as Splice does."""

_model = OnnxModel()


def screen(payment: Payment) -> Screening:
    """The decision about one."""
    probability = _model.one(payment.features)
    return Screening(payment.id, probability, action_of(probability))


def screen_all(payments: Sequence[Payment]) -> list[Screening]:
    """The decisions about several, by one run of the model."""
    features = np.array([one.features for one in payments], dtype=np.float32)
    probabilities = _model.probability(features).tolist()
    return [
        Screening(one.id, probability, action_of(probability))
        for one, probability in zip(payments, probabilities, strict=True)
    ]
