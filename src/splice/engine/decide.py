"""Decide: `decide()` turns the prediction into the reply, and the reply is proved to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splice.core.call import Prediction
from splice.core.errors import DecisionError
from splice.engine.faults import faults
from splice.engine.line import Line


def decide(line: Line, request: Any, prediction: Prediction, context: Mapping[str, Any]) -> bytes:
    """The reply as JSON, of the declared type.

    Raises:
        DecisionError: `decide()` raised, or returned something else than it declares.
    """
    where = f"{line.name}.decide"
    try:
        if line.decide is not None:
            seen = (context,) if line.decide_sees else ()
            reply = line.decide(request, prediction, *seen)
        else:
            reply = line.reply.convert(prediction.value, f"{line.name}.reply")
    except Exception as error:
        raise DecisionError(where, got=faults.told(where, error)) from error
    try:
        return line.reply.encode_checked(reply)
    except ValueError as error:
        raise DecisionError(
            where, got=str(error), promised="the declared reply type", mend="mend decide()"
        ) from None
