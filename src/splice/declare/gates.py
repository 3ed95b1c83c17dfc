"""What a user writes of gates: what a version must pass before it is promoted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from splice.core.validation import PinnedValidity

Figure = str | Callable[[Any, Any, Any], float]
"""A metric by name, or a function `(labels, scores, decisions) -> float` of three lists.

Labels are as the data set has them (0 and 1 where they are two classes), scores are the
prediction's score (its value where that is a number and no score), decisions the replies as plain
values.
"""
REFUSED: Literal["refused"] = "refused"


class Labelled(msgspec.Struct, frozen=True):
    """A data set: a CSV, JSONL or Parquet file of the request's fields, and the truth beside them.

    `path` starts at the folder of splice.toml. `label` is the column of the truth: true and false,
    0 and 1, numbers, or names of classes. `positive` names the class that the score is the chance
    of, where the labels are two words of their own. Further columns are for `Slices`: the model
    never sees them.
    """

    path: str
    label: str
    positive: str = ""


class AtLeast(msgspec.Struct, frozen=True):
    """A floor: `AtLeast("auc", 0.72)`. With `sure`, the lower end of its 95 % interval too."""

    metric: Figure
    bound: float
    sure: bool = False


class AtMost(msgspec.Struct, frozen=True):
    """A ceiling: `AtMost("brier", 0.2)`. With `sure`, the upper end of its 95 % interval too."""

    metric: Figure
    bound: float
    sure: bool = False


class NotWorse(msgspec.Struct, frozen=True):
    """Not worse than the champion on the same rows, by more than `margin`.

    With `sure`, the worse end of the difference's 95 % interval too (a test of non-inferiority).
    `higher_is_better` is for a function; a metric has a direction of its own.
    """

    metric: Figure
    margin: float = 0.0
    sure: bool = False
    higher_is_better: bool = True


class Slices(msgspec.Struct, frozen=True):
    """No group of rows may be served badly.

    Groups are the values of `column`; of a column of numbers `edges` cut them, each edge beginning
    a group. `worst` bounds each group's figure, `gap` how much worse than the whole it may be. A
    group of fewer than `least_rows` rows is told, and not judged.
    """

    column: str
    metric: Figure
    worst: float | None = None
    gap: float | None = None
    least_rows: int = 30
    edges: tuple[float, ...] = ()
    higher_is_better: bool = True


class Latency(msgspec.Struct, frozen=True):
    """How long one row may take, asked one after the other, on the machine that validates."""

    p50: str | float | None = None
    p95: str | float | None = None
    p99: str | float | None = None
    rows: int = 500


class Size(msgspec.Struct, frozen=True):
    """How large the artifact may be: `Size("20 MB")`; MB are millions of bytes."""

    most: str | int


class SameSchema(msgspec.Struct, frozen=True):
    """It reads what the integration gives it, and gives what the champion gives.

    An input that the champion does not read must come from the context; outputs and classes are
    the champion's, in its order.
    """


class Robust(msgspec.Struct, frozen=True):
    """What it does with values that are missing, unknown or shifted, one field at a time.

    `missing` takes a value away, `unknown` puts a word in its place that no data has. "refused"
    wants an error instead of an answer; a share wants at most that share of the decisions to be
    others. `shift` moves each number up and down by so many standard deviations; at most the share
    `flips` of the decisions may be others then. None leaves a check out. `rows` are asked.
    """

    missing: float | Literal["refused"] | None = REFUSED
    unknown: float | Literal["refused"] | None = REFUSED
    shift: float | None = None
    flips: float = 0.05
    rows: int = 200


class Calibrated(msgspec.Struct, frozen=True):
    """Chances mean what they say: expected calibration error over bins of as many rows each.

    With `sure`, the upper end of its 95 % interval too.
    """

    ece: float
    bins: int = 10
    sure: bool = False


Gate = AtLeast | AtMost | NotWorse | Slices | Latency | Size | SameSchema | Robust | Calibrated
GATES: tuple[type[Any], ...] = (
    AtLeast, AtMost, NotWorse, Slices, Latency, Size, SameSchema, Robust, Calibrated,
)  # fmt: skip


class Fresh(msgspec.Struct, frozen=True, kw_only=True):
    """Validate what answers again and again, on calls whose truth is known by now.

        fresh=splice.Fresh(every="30 days", window="90 days")

    Attributes:
        every: How often: "30 days".
        window: How far back the calls are that it looks at, without those whose outcome is not due
            yet; four times `every` where it is left out.
        least: Fewer calls with an outcome tell nothing: nothing is validated then.
        most: The newest so many are looked at.
        outcome: Name of the outcome, where several truths are declared.
        failed: What a validation that fails does: "alert" lets the one before hold for as long as
            it would have; "expire" ends it.
    """

    every: str | float
    window: str | float | None = None
    least: int = 100
    most: int = 5000
    outcome: str = ""
    failed: Literal["alert", "expire"] = "alert"


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """What a version of a model must pass before it answers here.

    `approver` wants a second person's consent; left out, it does where risk is high. `valid_for`
    is how long a validation holds ("90 days" is "90 d"); left out, for ever. `fresh` validates
    again on fresh calls. `expired` is what the end of a validation does: "alert" tells of it,
    "demote" skips the route, too, and "refuse" answers no call; left out, it demotes where risk is
    high, and alerts elsewhere. `model` is the model that these gates are for, where several models
    of the routes have different ones.
    """

    data: Labelled
    must: Sequence[Gate]
    approver: bool | None = None
    valid_for: str | float | None = None
    fresh: Fresh | None = None
    expired: Literal["alert", "demote", "refuse"] | None = None
    model: str = ""


class ReadGates(msgspec.Struct, frozen=True):
    """Gates, read and found without fault; times in seconds, sizes in bytes.

    What the end of a validation does, and how it is renewed, is no part of the digest: it changes
    nothing of what was measured.
    """

    data: Labelled
    must: tuple[Gate, ...]
    approver: bool
    valid_s: float
    model: str = ""
    validity: PinnedValidity | None = None

    def digest(self, bundle: str) -> str:
        """SHA-256 over these gates and the sources that they are declared in.

        The sources count: what `context()` and `decide()` do is part of what was measured.
        """
        plain = {
            "data": msgspec.to_builtins(self.data),
            "must": [[type(one).__name__, msgspec.to_builtins(_named(one))] for one in self.must],
            "approver": self.approver,
            "valid_s": self.valid_s,
            "model": self.model,
            "bundle": bundle,
        }
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def figure_name(figure: Figure) -> str:
    """The metric's name, or the function's."""
    return figure if isinstance(figure, str) else getattr(figure, "__name__", "function")


def _named(gate: Gate) -> Gate:
    """The same gate with the name of its function in the place of the function."""
    metric: Any = getattr(gate, "metric", None)
    return gate if metric is None else msgspec.structs.replace(gate, metric=figure_name(metric))


def title(gate: Gate) -> str:
    """How a gate is called in results: `AtLeast auc`, `Slices sex auc`, `Size`."""
    words = [type(gate).__name__]
    if isinstance(gate, Slices):
        words.append(gate.column)
    metric: Any = getattr(gate, "metric", None)
    if metric is not None:
        words.append(figure_name(metric))
    return " ".join(words)


def gates_for(gates: Sequence[ReadGates], model: str) -> ReadGates | None:
    """The gates of a model: those that name it, else those that name none, else None."""
    named = [one for one in gates if one.model == model]
    return next(iter(named or [one for one in gates if not one.model]), None)
