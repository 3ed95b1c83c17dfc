"""Profiles: what the values of one column were like, and how far two of them are apart.

A column is a feature of the context (`amount`, nested `card.country`), or a part of the prediction
(`prediction.score`, `prediction.value`, `prediction.scores.good`) or of the reply (`reply.action`).
A feature whose own name begins with one of those two words stands below `context.`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from splice.core.rollups import Window

EVERYTHING = ""
"""The segment that has every call."""

OTHER = "…"
"""The value of a segment that has the calls beyond the most segments that are kept apart."""

MEASURES = ("psi", "ks", "js", "wasserstein", "chi2", "missing")
"""What a monitor may ask for; `text` and `vector` besides, of columns that hold texts."""


class Kind(StrEnum):
    """What the values of a column are, in the main."""

    NUMBER = "number"
    TRUTH = "truth"  # true or false
    WORD = "word"  # short texts: a country, a reason, a code
    TEXT = "text"  # sentences
    LIST = "list"  # of a list its length is looked at
    NOTHING = "nothing"  # always missing


class Numbers(msgspec.Struct, omit_defaults=True):
    """The finite numbers of a column; those that are not finite are only counted.

    `quantiles` is a serialised KLL sketch, `distinct` the registers of a HyperLogLog. `values` has
    how often each number was there, as long as there are few of them; None where there are more.
    """

    count: int = 0
    not_finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of the squared distances to the mean: variance times count."""
    least: float | None = None
    most: float | None = None
    quantiles: bytes = b""
    distinct: bytes = b""
    values: dict[float, int] | None = None


class Words(msgspec.Struct, omit_defaults=True):
    """The short texts of a column, or the truths of one.

    While there are few different ones, `counts` has how often each was there, by a hash of it, and
    `names` the text of those that may be named. Where there are more, `counts` is None: from then
    on `buckets` has how many fell into each bucket by hash, and nothing can be named any more.
    """

    count: int = 0
    counts: dict[int, int] | None = None
    names: dict[int, str] = {}
    buckets: tuple[int, ...] = ()
    distinct: bytes = b""


class Vectors(msgspec.Struct, omit_defaults=True):
    """Mean and spread of vectors made of texts: what they are about, and in which words.

    `mean` and `products` are arrays of doubles in little-endian order, of n and n * n numbers;
    `products` is the sum of the outer products of the distances to the mean.
    """

    count: int = 0
    mean: bytes = b""
    products: bytes = b""
    made_by: str = ""  # vectors that were made in another way cannot be compared


class Texts(msgspec.Struct, omit_defaults=True):
    """The sentences of a column, of which no word is kept.

    `length` is in characters. `unknown` is the share of characters that no reader could read
    (control characters, U+FFFD), `letters`, `digits`, `spaces` the shares of those.
    """

    count: int = 0
    length: Numbers = msgspec.field(default_factory=Numbers)
    unknown: Numbers = msgspec.field(default_factory=Numbers)
    letters: Numbers = msgspec.field(default_factory=Numbers)
    digits: Numbers = msgspec.field(default_factory=Numbers)
    spelling: Vectors = msgspec.field(default_factory=Vectors)
    meaning: Vectors = msgspec.field(default_factory=Vectors)


class Profile(msgspec.Struct, omit_defaults=True):
    """What the values of one column were like.

    `calls` are those that could have had a value: calls whose texts are not kept are no part of it.
    `missing` of them had none (left out, or null). The rest is in the parts, by its type: a column
    that was a number and became a text has both.
    """

    form: int = 1
    calls: int = 0
    missing: int = 0
    numbers: Numbers | None = None
    truths: Words | None = None
    words: Words | None = None
    texts: Texts | None = None
    lengths: Numbers | None = None  # of lists
    private: bool = False  # it names who a call is about: nothing of it may be named


class Measured(msgspec.Struct, frozen=True):
    """How far apart two profiles of a column are, by one measure.

    `value` is 0 where they are alike; `low` and `high` are the ends of its 95 % interval. `p` is
    how likely so great a distance is where nothing has changed; None where the measure has no test.
    """

    measure: str
    value: float
    low: float
    high: float
    p: float | None = None


class ColumnDrift(msgspec.Struct, frozen=True):
    """How one column has drifted.

    `measure`, `value`, `low`, `high` are of the measure that decides (what made the alarm, or the
    usual one of the kind); `measures` has all. `p` is corrected for the number of columns
    (Benjamini-Hochberg). `alarm` where the whole interval is at or above `limit` and `p` is small;
    `why` says it in a sentence, also why there can be no answer: then `value` is None.
    """

    column: str
    kind: Kind
    measure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    p: float | None = None
    alarm: bool = False
    why: str = ""
    calls: int = 0
    reference_calls: int = 0
    measures: tuple[Measured, ...] = ()

    def measured(self, measure: str) -> Measured | None:
        """What one measure says, or None where it does not fit the column."""
        return next((one for one in self.measures if one.measure == measure), None)


class Against(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a window is compared with.

    `window`: calls of the same integration in another window. `release`: all calls of that release,
    those of the question's window only where the question is about another release. `training`: the
    data that the model of the release was trained or judged on, as its gates name it.
    """

    kind: Literal["window", "release", "training"] = "training"
    window: Window = Window(0, 0)
    release: int = 0


class DriftQuestion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which calls, against what.

    `release` and `variant` None are all of them, shadows left out. Hours are the finest: a window
    begins with the hour that holds its start. `columns` empty is every column.
    """

    integration: str
    window: Window
    against: Against = Against()
    release: int | None = None
    variant: str | None = None
    segment: str = EVERYTHING
    columns: tuple[str, ...] = ()


class DriftReport(msgspec.Struct, frozen=True):
    """The answer: each column, those with an alarm first. `why` where there is nothing to compare.

    `calls` and `reference_calls` are the most that any column had.
    """

    columns: tuple[ColumnDrift, ...] = ()
    calls: int = 0
    reference_calls: int = 0
    why: str = ""
    against: str = ""  # what it was compared with, in words

    @property
    def alarms(self) -> tuple[ColumnDrift, ...]:
        """The columns that have drifted."""
        return tuple(one for one in self.columns if one.alarm)


class PinnedProfile(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a release says about its profiles: see `splice.Profile`. Empty `columns` are all."""

    segments: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    meaning: tuple[str, ...] = ()  # columns of texts that a sentence encoder reads
    entity: str = ""  # the field of the request that names who a call is about
    words: dict[str, tuple[str, ...]] = {}  # column to the words that its type declares
    # Of texts that the ledger holds enciphered: then only words that a type declares are named.
    hidden: bool = False
    person: str = ""  # path in the request to whom a call is about, of which there is no column
