"""Duties: what the law asks of an integration by its risk, what people attest, and incidents."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

Decider = Literal["", "person", "assisted", "automatic"]
"""Who decides: a person who sees the prediction beside other things, a person who mostly follows
it, or nobody but the system; empty where it was not answered."""


class Tier(StrEnum):
    """Risk tiers of the EU AI Act, worst first. They are an estimate by answers, not a ruling."""

    PROHIBITED = "prohibited"
    HIGH = "high"
    LIMITED = "limited"
    MINIMAL = "minimal"


class PinnedAssessment(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers of the risk questionnaire that a declaration gives, as a release pins them.

    Keys are those of the package's table of the law. None and an empty text are questions that
    nobody answered; an empty tuple under `answered` is the answer "none of them".
    """

    roles: tuple[str, ...] = ()  # provider, deployer: what the company is of this system
    practices: tuple[str, ...] | None = None  # of Art. 5
    uses: tuple[str, ...] | None = None  # of Annex III
    products: tuple[str, ...] | None = None  # of Annex I
    safety_component: bool | None = None
    third_party: bool | None = None  # the product is assessed by a third party
    transparency: tuple[str, ...] | None = None  # of Art. 50
    profiling: bool | None = None  # of natural persons
    decides: Decider = ""
    derogation: str = ""  # of Art. 6(3), by its key; empty where none is claimed
    derogation_why: str = ""
    public_service: bool | None = None  # a public body, or a private one that serves the public
    affected: str = ""  # who is affected, in the declaration's own words


class Attestation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person said of one duty, which no record can show. It holds until it expires.

    `duty` is the key of the item, `text` what was said. Times are Unix microseconds;
    `withdrawn_us` is 0 while nobody took it back.
    """

    id: str
    integration: str
    duty: str
    text: str
    by: str
    at_us: int
    expires_us: int
    withdrawn_us: int = 0
    withdrawn_by: str = ""
    withdrawn_why: str = ""

    def holds(self, now_us: int) -> bool:
        """Whether it counts at a moment."""
        return not self.withdrawn_us and self.at_us <= now_us < self.expires_us


class Freeze(msgspec.Struct, frozen=True, omit_defaults=True):
    """Evidence that is kept: no retention, archive or erasure may take it while this holds.

    It keeps calls, releases, logs and files of an integration that were recorded from `since_us`
    up to before `until_us` (Unix microseconds; 0: without end). `lifted_us` is 0 while it holds.
    """

    id: str
    integration: str
    since_us: int
    until_us: int
    at_us: int
    by: str
    why: str
    incident: str = ""  # id of the incident, where it is for one
    lifted_us: int = 0
    lifted_by: str = ""
    lifted_why: str = ""

    def keeps(self, integration: str, since_us: int, until_us: int) -> bool:
        """Whether it holds back any part of a window: from `since_us` to before `until_us`."""
        ends = self.until_us or until_us
        return (
            not self.lifted_us
            and self.integration == integration
            and self.since_us < until_us
            and since_us < ends
        )


def freeze_of(
    freezes: Iterable[Freeze], integration: str, since_us: int, until_us: int
) -> Freeze | None:
    """The first freeze that keeps any part of a window of an integration; None where none does."""
    return next((one for one in freezes if one.keeps(integration, since_us, until_us)), None)


class Incident(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something serious that happened, and the clock of the report to the authority (Art. 73).

    Times are Unix microseconds; 0 is "not yet". `kind` is a key of the table of the law and gives
    the days; `aware_us` is when the company came to know of it, from which they are counted up to
    `due_us`. The window (`since_us`, `until_us`; 0: without end) says whose evidence is frozen.
    """

    id: str
    integration: str
    kind: str
    what: str
    aware_us: int
    due_us: int
    since_us: int
    until_us: int
    opened_us: int
    opened_by: str
    freeze: str  # id of the freeze
    reported_us: int = 0
    reported_by: str = ""
    reference: str = ""  # of the report, as the authority calls it
    closed_us: int = 0
    closed_by: str = ""
    finding: str = ""  # what came of it, and what was done against it
    evidence: str = ""  # folder of the newest copy of the evidence
    evidence_sha256: str = ""  # of the manifest of that copy
    reminded: tuple[int, ...] = ()  # hours before the end at which somebody was reminded
    revision: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it was not closed."""
        return not self.closed_us

    def left_us(self, now_us: int) -> int:
        """What is left of the clock; negative where it ran out, 0 where it was reported."""
        return 0 if self.reported_us else self.due_us - now_us
