"""Quality: how right an integration was, by outcomes joined with what it said."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.rollups import Window

By = Literal["", "release", "variant", "segment", "day"]


class Measure(msgspec.Struct, frozen=True):
    """One figure of quality: what it is called, what it means and where its formula comes from."""

    name: str
    higher_is_better: bool
    unit: str
    meaning: str
    source: str = ""


class Measured(msgspec.Struct, frozen=True):
    """A figure with its 95 % interval.

    `value`, `low` and `high` are None where it cannot be told, and `why` says why; or what is to be
    known of the interval. `count` is how many labels it rests on; of an estimate, how many calls.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    why: str = ""


class Counts(msgspec.Struct, frozen=True):
    """How many calls there are of each kind. Only calls that were answered count.

    `mature` calls are old enough that their outcome would have come; `calls` less `mature` are not
    yet. Of the mature, `labelled` have an outcome, `assumed` have none and that itself says it (a
    lossy feedback), `awaited` have none. `early` are outcomes of calls that are not mature, which
    figures leave out: those that come early are not like the rest. `unread` outcomes are of a value
    that the truth does not know. `contradicted` labels had outcomes that do not agree; the latest
    counts. `unscored` mature calls have nothing that foretold.
    """

    calls: int = 0
    mature: int = 0
    labelled: int = 0
    assumed: int = 0
    awaited: int = 0
    early: int = 0
    unread: int = 0
    contradicted: int = 0
    unscored: int = 0


class Quality(msgspec.Struct, frozen=True):
    """How right an integration was in a window of time, with what that rests on.

    `window` is of when calls were asked, widened to whole buckets of `bucket_s` seconds in UTC.
    `outcome` is empty where no truth is declared; all else is empty then, too. `estimate` says that
    the figures were reckoned before the outcomes came, from calibrated chances (CBPE): never show
    them without that word. `of` is which part this is (a release, a variant, a segment or a day)
    of a larger Quality, which has it among its `parts`; empty of the whole. `estimated` is the
    estimate of the calls whose outcome is not known yet, where there can be one. `notes` are
    sentences that a reader must see.
    """

    integration: str
    window: Window
    outcome: str = ""
    task: str = ""
    matures_s: float = 0.0
    bucket_s: int = 0
    of: str = ""
    counts: Counts = Counts()
    figures: tuple[Measured, ...] = ()
    estimate: bool = False
    estimated: Quality | None = None
    parts: tuple[Quality, ...] = ()
    notes: tuple[str, ...] = ()

    def figure(self, name: str) -> Measured | None:
        """A figure by its name, or None where this task has no such figure."""
        return next((one for one in self.figures if one.name == name), None)


class QualityWanted(msgspec.Struct, frozen=True):
    """Which quality: of calls asked in a window, as known at `now_us` (Unix microseconds).

    `outcome` chooses among several truths; empty is the first that the live release declares.
    `variant` empty is what callers got from a model: no shadows, no holdout. None and empty do not
    restrict. `by` splits the whole into parts. With `due` the window is moved back by as long as an
    outcome may take, so that all of its calls are mature: "the last 30 days of what is known".
    With `early` the outcomes of calls that are not mature are reckoned with, too, and a note says
    so. Without `estimates` none is made: they take most of the time.
    """

    integration: str
    window: Window
    now_us: int
    outcome: str = ""
    release: int | None = None
    variant: str = ""
    segment: str | None = None
    by: By = ""
    due: bool = False
    early: bool = False
    estimates: bool = True


_ALL = (
    Measure("accuracy", True, "share", "calls that foretold what happened"),
    Measure("precision", True, "share", "of those foretold to happen, those that did"),
    Measure("recall", True, "share", "of those that happened, those foretold"),
    Measure(
        "f1", True, "share",
        "harmonic mean of precision and recall; of several classes, the mean over them",
        "van Rijsbergen, Information Retrieval (1979); interval by Hand, Christen and Kirielle, "
        "F*, Machine Learning 110 (2021); of several by Takahashi et al., Applied Intelligence 52 "
        "(2022)",
    ),
    Measure(
        "auc", True, "share, 0.5 is a coin",
        "the chance that a call that happened was scored above one that did not; ties count half",
        "DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988)",
    ),
    Measure(
        "brier", False, "squared share, 0 is perfect, 1 is worst",
        "mean squared gap between chance and what happened",
        "Brier, Monthly Weather Review 78 (1950); half of his sum over both classes",
    ),
    Measure(
        "log_loss", False, "nats", "mean negative logarithm of the chance of what happened",
        "Good, Journal of the Royal Statistical Society B 14 (1952)",
    ),
    Measure(
        "calibration_error", False, "share",
        "root of the mean squared gap of chance and share in bins, less what luck adds",
        "Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019, section 5",
    ),
    Measure("positive_rate", True, "share", "calls of which it happened"),
    Measure("mae", False, "unit of the outcome", "mean absolute error"),
    Measure("rmse", False, "unit of the outcome", "root of the mean squared error"),
    Measure("mape", False, "share", "mean absolute error as a share of the outcome"),
    Measure("bias", False, "unit of the outcome", "mean of foretold less true; 0 is best"),
    Measure(
        "r2", True, "share, 0 is the mean of the outcomes, can be negative",
        "share of the outcomes' variance that is explained",
        "Wright, Journal of Agricultural Research 20 (1921)",
    ),
    Measure(
        "ndcg", True, "share", "gain of the relevant by their places, of the best there could be",
        "Jarvelin and Kekalainen, ACM Transactions on Information Systems 20 (2002)",
    ),
    Measure(
        "mrr", True, "share", "mean of one over the place of the first that is relevant",
        "Voorhees, TREC-8 (1999)",
    ),
    Measure("hit_rate", True, "share", "calls with one that is relevant among the first"),
    Measure("rating", True, "unit of the rating", "mean of the ratings"),
    Measure("good", True, "share", "ratings that are good"),
)  # fmt: skip

MEASURES: dict[str, Measure] = {one.name: one for one in _ALL}
"""Every figure of quality by name."""
