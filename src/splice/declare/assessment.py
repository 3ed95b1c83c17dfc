"""`splice.Assessment`: what the integration is for, in the words of the risk questionnaire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.duties import PinnedAssessment, Tier
from splice.core.law import Law
from splice.core.tiers import ORDER, estimate
from splice.declare.law import eu_ai_act

Wrong = Callable[[str, str, str, str], None]
_TABLES = {
    "practices": "practices", "uses": "uses", "products": "products",
    "transparency": "transparency",
}  # fmt: skip
_ROLES = ("provider", "deployer")
_DECIDERS = ("person", "assisted", "automatic")
_LONGEST = 2000


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What the integration is for, in the words of the risk questionnaire.

        assessment = splice.Assessment(
            roles=["deployer"], practices=[], uses=["credit"], products=[], transparency=[],
            profiling=True, decides="assisted", public_service=False,
            affected="People who ask for a loan",
        )

    `splice risk --questions` prints the questions and the keys, `splice risk NAME --ask` asks them.
    What is left out was not answered, and is told as open; `[]` answers "none of them".

    Attributes:
        roles: `provider`, `deployer`, or both: what your company is of this system.
        practices: What it does of Art. 5. Anything here is prohibited, and cannot be applied.
        uses: What it is intended for, of Annex III.
        products: What it is, or is part of, of Annex I.
        safety_component: Of a product: whether it is a safety component, or the product itself.
        third_party: Of a product: whether a third party must assess it.
        transparency: What it does of Art. 50.
        profiling: Whether it profiles natural persons.
        decides: `person`, `assisted` or `automatic`: who decides.
        derogation: The condition of Art. 6(3) that makes a use of Annex III no high risk.
        derogation_why: Why it holds: it must be documented.
        public_service: Whether the deployer is a public body, or serves the public.
        affected: Who is affected by its decisions, in a sentence.
    """

    roles: Sequence[str] = ()
    practices: Sequence[str] | None = None
    uses: Sequence[str] | None = None
    products: Sequence[str] | None = None
    safety_component: bool | None = None
    third_party: bool | None = None
    transparency: Sequence[str] | None = None
    profiling: bool | None = None
    decides: str = ""
    derogation: str = ""
    derogation_why: str = ""
    public_service: bool | None = None
    affected: str = ""


def read_assessment(given: Any, risk: str, wrong: Wrong) -> PinnedAssessment | None:
    """What is pinned of it; notes what is wrong with it, and with the declared risk beside it."""
    if given is None:
        return None
    if not isinstance(given, Assessment):
        wrong(
            "assessment",
            type(given).__name__,
            "a splice.Assessment",
            "write assessment = splice.Assessment(…)",
        )
        return None
    law, said = eu_ai_act(), _Reader(given, wrong)
    pinned = PinnedAssessment(
        roles=said.keys("roles", _ROLES) or (),
        safety_component=said.flag("safety_component"),
        third_party=said.flag("third_party"),
        profiling=said.flag("profiling"),
        public_service=said.flag("public_service"),
        decides=cast("Any", said.one("decides", _DECIDERS)),
        derogation=said.one("derogation", tuple(one.key for one in law.derogations)),
        derogation_why=said.text("derogation_why"),
        affected=said.text("affected"),
        **{
            name: said.keys(name, tuple(one.key for one in law.table(table)))
            for name, table in _TABLES.items()
        },
    )
    if said.fine:
        _compare(pinned, risk, law, wrong)
    return pinned


class _Reader:
    """Reads answers one by one, and remembers whether all were fine."""

    def __init__(self, given: Assessment, wrong: Wrong) -> None:
        self._given = given
        self._wrong = wrong
        self.fine = True

    def _slip(self, name: str, got: object, promised: str) -> None:
        self.fine = False
        self._wrong(
            "assessment", f"{name}={str(got)[:120]}", promised, "splice risk --questions lists them"
        )

    def keys(self, name: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
        """Keys of a table, in its order; None where the question was not answered."""
        given: Any = getattr(self._given, name)
        if given is None:
            return None
        if isinstance(given, str) or not isinstance(given, (list, tuple, set, frozenset)):
            self._slip(name, repr(given), "a list of keys, empty where it is none of them")
            return None
        said = cast("Sequence[Any]", given)
        for one in said:
            if one not in known:
                self._slip(name, repr(one), f"one of {', '.join(known)}")
        return tuple(one for one in known if one in said)

    def one(self, name: str, known: tuple[str, ...]) -> str:
        """One key, or nothing."""
        given: Any = getattr(self._given, name)
        if given and given not in known:
            self._slip(name, repr(given), f"one of {', '.join(known)}")
            return ""
        return given or ""

    def flag(self, name: str) -> bool | None:
        """Yes, no, or not answered."""
        given: Any = getattr(self._given, name)
        if given is not None and not isinstance(given, bool):
            self._slip(name, repr(given), "True or False, left out where it is not known")
            return None
        return given

    def text(self, name: str) -> str:
        """A sentence."""
        given: Any = getattr(self._given, name)
        if not isinstance(given, str) or len(given) > _LONGEST:
            self._slip(name, type(given).__name__, f"a text of at most {_LONGEST} characters")
            return ""
        return " ".join(given.split())


def _compare(said: PinnedAssessment, risk: str, law: Law, wrong: Wrong) -> None:
    found = estimate(said, law)
    ground = found.grounds[0] if found.grounds else None
    if found.tier is Tier.PROHIBITED and ground is not None:
        since = "" if ground.date is None else f", from {ground.date.day} on"
        wrong(
            "assessment",
            f"a prohibited practice ({ground.point}: {ground.text}{since})",
            "an integration that the law allows",
            "do not build it; if the answer is wrong, mend practices",
        )
    elif ground is not None and ORDER.index(found.tier) > ORDER.index(Tier(risk)):
        wrong(
            "assessment",
            f"risk = {risk}, and answers that come to {found.tier} ({ground.point}: {ground.text})",
            f"risk of {found.tier} at least",
            f"write risk = splice.Risk.{found.tier.name}, or mend the answers",
        )
    if said.derogation and not said.derogation_why:
        wrong(
            "assessment", f"derogation={said.derogation!r} without a reason",
            "why it holds: Art. 6(4) wants it documented", "write derogation_why=…",
        )  # fmt: skip


def assessment_text(said: PinnedAssessment | None) -> str:
    """The answers in words: "roles deployer; uses credit; products none"."""
    if said is None:
        return ""
    words: list[str] = []
    for name in said.__struct_fields__:
        given: Any = getattr(said, name)
        if given is None or given == "" or (name == "roles" and not given):
            continue
        if isinstance(given, tuple):
            given = ", ".join(cast("tuple[str, ...]", given)) or "none"
        elif isinstance(given, bool):
            given = "yes" if given else "no"
        words.append(f"{name.replace('_', ' ')} {given}")
    return "; ".join(words) or "no answers"
