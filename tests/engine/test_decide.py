"""What `decide()` sees: request, prediction, and the context where it asks for it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from engine_house import House, Order, Orders, Screening, line_for

import splice
from splice.declare.reading import read
from splice.testing.fakes import ScriptedPredictor

GOOD = splice.Prediction(score=0.25)


class WithContext(Orders):
    """Decide by what the routes saw."""

    def context(self, order: Order, look: splice.Lookup) -> dict[str, Any]:
        return {"trust": 0.5}

    def decide(
        self, order: Order, prediction: splice.Prediction, context: Mapping[str, Any]
    ) -> Screening:
        return Screening((prediction.score or 0.0) * context["trust"])


class WithFields(Orders):
    """Decide by the fields of the request, which the routes see where there is no context()."""

    def decide(
        self, order: Order, prediction: splice.Prediction, context: Mapping[str, Any]
    ) -> Screening:
        return Screening(context["amount"])


class TooMuch(Orders):
    """Decide by what nobody gives."""

    def decide(self, order: Order, prediction: Any, context: Any, more: Any = 1) -> Screening:
        return Screening(0.0)


class TooLittle(Orders):
    """Decide by the request alone."""

    def decide(self, order: Order) -> Screening:  # type: ignore[override]
        return Screening(0.0)


@pytest.mark.parametrize(("cls", "risk"), [(WithContext, 0.125), (WithFields, 5.0)])
async def test_a_decide_of_three_arguments_sees_what_the_routes_saw(
    house: House, cls: type[splice.Integration], risk: float
) -> None:
    answered = await house.ask(line_for(cls, ScriptedPredictor(GOOD)))

    assert msgspec.json.decode(answered.record.reply or b"") == {"risk": risk}


@pytest.mark.parametrize("cls", [TooMuch, TooLittle])
def test_a_decide_that_cannot_be_called_so_is_a_mistake(cls: type[splice.Integration]) -> None:
    declaration, mistakes = read(cls, ast.parse(""), "test.py", lambda path: path)

    assert declaration is None
    assert [(one.where, one.got) for one in mistakes] == [
        (f"{cls.__name__}.decide", "arguments that do not fit")
    ]
    assert mistakes[0].promised == "def decide(self, request, prediction[, context])"
