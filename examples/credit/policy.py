"""What a decision costs in money, and the thresholds that make it cheapest on the training part.

The ratio of five to one is the data set's own: its documentation says that a bad customer taken
for a good one costs five times as much as the other way round. The amounts in euros, the price
of a review and how often a reviewer is right are assumptions of this example; put in your own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

Action = Literal["approve", "review", "decline"]
ACTIONS: Final[tuple[Action, ...]] = ("approve", "review", "decline")


@dataclass(frozen=True, slots=True)
class Costs:
    """Euros for each kind of mistake and for each review."""

    approved_default: float = 1500.0
    declined_repaid: float = 300.0
    review: float = 60.0
    reviewer_right: float = 0.8
    """Share of reviews that end in the right decision; assumed, not measured."""

    def of(self, action: Action, defaulted: bool) -> float:
        """Expected euros of one decision; 0 is the right decision without a review."""
        mistake = self.approved_default if defaulted else self.declined_repaid
        if action == "review":
            return self.review + (1 - self.reviewer_right) * mistake
        return mistake if (action == "approve") == defaulted else 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Below `approve`: approve. At or above `decline`: decline. Between: a person looks."""

    approve: float
    decline: float

    def action(self, probability: float) -> Action:
        """The decision for one probability of default in [0, 1]."""
        if probability < self.approve:
            return "approve"
        return "decline" if probability >= self.decline else "review"


COSTS: Final = Costs()
MAX_REVIEW_SHARE: Final = 0.30
"""More than this cannot be looked at by people; an assumption like the costs."""


def mean_cost(actions: Sequence[Action], defaulted: Sequence[bool], costs: Costs = COSTS) -> float:
    """Mean euros per application over decisions and outcomes in the same order."""
    return sum(map(costs.of, actions, defaulted)) / len(defaulted)


def constant_cost(action: Action, defaulted: Sequence[bool]) -> float:
    """Mean euros per application if every one got the same decision."""
    return round(mean_cost([action for _ in defaulted], defaulted), 2)


def choose(
    probabilities: Sequence[float], defaulted: Sequence[bool], costs: Costs = COSTS
) -> Thresholds:
    """The cheapest pair of thresholds on a grid of 0.01 with at most MAX_REVIEW_SHARE reviews.

    Args:
        probabilities: Of default, shape (n,), for rows the model was not fitted on.
        defaulted: What happened, shape (n,), in the same order.
        costs: Euros.
    """
    best, best_cost = Thresholds(0.5, 0.5), float("inf")
    for low in range(1, 100):
        for high in range(low, 100):
            pair = Thresholds(low / 100, high / 100)
            actions: list[Action] = [pair.action(p) for p in probabilities]
            if actions.count("review") > MAX_REVIEW_SHARE * len(actions):
                break  # a wider band only adds reviews
            cost = mean_cost(actions, defaulted, costs)
            if cost < best_cost:
                best, best_cost = pair, cost
    return best


def summary(actions: Sequence[Action], defaulted: Sequence[bool]) -> dict[str, object]:
    """Shares, mistakes and mean cost of a list of decisions, as plain JSON values."""
    table = Counter(zip(actions, defaulted, strict=True))
    automatic = [(a, d) for a, d in zip(actions, defaulted, strict=True) if a != "review"]
    right = sum((a == "decline") == d for a, d in automatic)
    return {
        "cost_eur_per_application": round(mean_cost(actions, defaulted), 2),
        "cost_eur_if_reviewer_right_0.6": round(
            mean_cost(actions, defaulted, Costs(reviewer_right=0.6)), 2
        ),
        "accuracy_of_automatic_decisions": round(right / len(automatic), 4) if automatic else None,
        "share": {a: round(actions.count(a) / len(actions), 4) for a in ACTIONS},
        "repaid": {a: table[a, False] for a in ACTIONS},
        "defaulted": {a: table[a, True] for a in ACTIONS},
    }


def stated() -> dict[str, float]:
    """The costs in use, as plain JSON values."""
    return asdict(COSTS)
