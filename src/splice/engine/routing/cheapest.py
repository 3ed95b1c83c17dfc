"""Cheapest: the routes in the order of their price, those below the floor last."""

from __future__ import annotations

from collections.abc import Sequence

from splice.engine.line import Line, Step
from splice.engine.routing.relayed import Relayed

_TYPICAL_OUTPUT = 256
"""Tokens of an answer, to weigh the price of input against that of output."""


def in_order(line: Line, steps: Sequence[Step], input_tokens: int) -> Sequence[Step]:
    """The steps of a call in the order in which they are to be tried."""
    if not line.declaration.options.cheapest or len(steps) < 2:
        return steps
    return sorted(steps, key=lambda step: _rank(line, step, input_tokens))


def _rank(line: Line, step: Step, input_tokens: int) -> tuple[bool, bool, float, int]:
    options = line.declaration.options
    relayed = step.predictor
    price = median_s = None
    if isinstance(relayed, Relayed):
        price = relayed.balanced.provider.price(step.route.model)
        median_s = relayed.median_s
    poor = options.quality is not None and (step.quality or 0.0) < options.quality
    # A route that nobody has measured yet is given the benefit of the doubt: else it never is.
    slow = options.within_s is not None and median_s is not None and median_s > options.within_s
    cost = 0.0
    if price is not None:
        cost = input_tokens * price.input_nano + _TYPICAL_OUTPUT * price.output_nano
    return (poor or slow, price is None, cost, step.route.position)
