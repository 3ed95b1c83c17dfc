"""A validation: which gates a model version passed on which data, and who approved it."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from splice.core.errors import Stopped

Expired = Literal["alert", "demote", "refuse"]
"""What the end of a validation does: it is only told of, or the route is skipped, too, or no call
of the integration is answered."""
EXPIRED: tuple[Expired, ...] = ("alert", "demote", "refuse")


class NotValidated(Stopped):
    """The validation of what would answer has expired or failed, and calls are refused then."""

    code = "not_validated"


class PinnedValidity(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long validations hold, what their end does, and how they are renewed.

    Times are in seconds. `valid_s` 0 is for ever. `every_s` 0 is never again; else a validation on
    the newest `most` calls of the last `window_s` whose `outcome` is known, where there are at
    least `least` of them. `failed_ends` where one that is failed ends what was valid before.
    """

    valid_s: float
    expired: Expired
    every_s: float
    window_s: float
    least: int
    most: int
    outcome: str
    failed_ends: bool


class GateResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one gate found. `low` and `high` are the 95 % interval of `measured`."""

    gate: str
    passed: bool
    detail: str = ""  # one sentence: what was measured, what was wanted, by how much it failed
    measured: float | None = None
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    slice: str = ""


class Validation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run of the gates of an integration against a model version."""

    integration: str
    model: str
    version: int
    sha256: str  # of the artifact
    data: str
    data_sha256: str
    rows: int
    gates_sha256: str  # of the gates as declared: other gates want another validation
    at_us: int
    expires_us: int  # 0: it does not expire
    by: str
    results: tuple[GateResult, ...] = ()
    champion: int = 0  # the version it was compared with; 0 where there was none
    since_us: int = 0  # of fresh calls: those asked from here on; 0 of a data set
    until_us: int = 0  # and before this; 0 of a data set

    @property
    def fresh(self) -> bool:
        """Whether it is on calls that were recorded, and not on a data set."""
        return self.until_us > 0

    @property
    def passed(self) -> bool:
        """Whether every gate let it through."""
        return all(one.passed for one in self.results)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal: what an approval is given to."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Permit(msgspec.Struct, frozen=True):
    """Whether a release may run a version of a model: `why` says why not, empty where it may.

    `until_us` is when that ends, in Unix microseconds, and `then` is the `why` from then on; 0 is
    never. `refuses` where the integration then answers no call at all.
    """

    why: str = ""
    until_us: int = 0
    then: str = ""
    refuses: bool = False

    def at(self, now_us: int) -> str:
        """Why it may not run at that time."""
        return self.why or (self.then if 0 < self.until_us <= now_us else "")


class Approval(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person's consent to one validated version."""

    integration: str
    model: str
    version: int
    sha256: str
    validation: str  # digest of the validation
    by: str
    at_us: int
    why: str = ""
