"""A validation: which gates a model version passed on which data, and who approved it."""

from __future__ import annotations

import hashlib

import msgspec


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

    `until_us` is when that must be looked at again, in Unix microseconds; 0 is never.
    """

    why: str = ""
    until_us: int = 0


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
