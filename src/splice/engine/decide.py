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
    try:
        if line.decide is None:
            reply = line.reply.convert(prediction.value, f"{line.name}.reply")
        elif line.decide_sees:
            reply = line.decide(request, prediction, context)
        else:
            reply = line.decide(request, prediction)
    except Exception as error:
        where = f"{line.name}.decide"
        raise DecisionError(where, got=faults.told(where, error)) from error
    try:
        return line.reply.encode_checked(reply)
    except ValueError as error:
        raise DecisionError(
            f"{line.name}.decide",
            got=str(error),
            promised="the declared reply type",
            mend="mend decide()",
        ) from None
