"""The risk tier that answers of the questionnaire come to, with the reasons and what is open."""

from __future__ import annotations

import msgspec

from splice.core.duties import PinnedAssessment, Tier
from splice.core.law import Date, Duty, DutyItem, Entry, Law

ORDER = (Tier.MINIMAL, Tier.LIMITED, Tier.HIGH, Tier.PROHIBITED)


class Ground(msgspec.Struct, frozen=True):
    """Why a tier, and where that stands; `date` is from when it counts, None where nothing does."""

    tier: Tier
    point: str
    text: str
    date: Date | None = None


class Estimate(msgspec.Struct, frozen=True):
    """What the answers come to. `open` are questions without an answer that could make it worse."""

    tier: Tier
    grounds: tuple[Ground, ...]
    open: tuple[str, ...]
    fria: bool = False  # whether a deployer must assess the impact on fundamental rights

    @property
    def is_certain(self) -> bool:
        """Whether no open question could make it worse."""
        return self.tier is Tier.PROHIBITED or not self.open


def estimate(said: PinnedAssessment, law: Law) -> Estimate:
    """The tier that follows from the answers: the worst of its grounds.

    A question that nobody answered never lowers it: it is named as open, and a derogation counts
    only where all that it hangs on was answered.
    """
    grounds = [
        Ground(Tier.PROHIBITED, one.point, one.text, law.date(one.date))
        for one in _named(law.practices, said.practices)
    ]
    grounds += _by_product(said, law)
    grounds += _by_use(said, law)
    grounds += [
        Ground(Tier.LIMITED, one.point, one.text, law.date("transparency"))
        for one in _named(law.transparency, said.transparency)
    ]
    tier = max((one.tier for one in grounds), key=ORDER.index, default=Tier.MINIMAL)
    grounds.sort(key=lambda one: -ORDER.index(one.tier))
    high = [one for one in grounds if one.tier is Tier.HIGH]
    return Estimate(tier, tuple(grounds), _open(said), bool(high) and _wants_fria(said, law))


def _named(table: tuple[Entry, ...], keys: tuple[str, ...] | None) -> list[Entry]:
    return [one for one in table if one.key in (keys or ())]


def _by_product(said: PinnedAssessment, law: Law) -> list[Ground]:
    if said.safety_component is False or said.third_party is False:
        return []
    unsure = said.safety_component is None or said.third_party is None
    more = "; counted as high, for a question about it is open" if unsure else ""
    return [
        Ground(Tier.HIGH, f"Art. 6(1), {one.point}", one.text + more, law.date("annex_i"))
        for one in _named(law.products, said.products)
    ]


def _by_use(said: PinnedAssessment, law: Law) -> list[Ground]:
    date = law.date("annex_iii")
    claimed = _named(law.derogations, (said.derogation,))
    found: list[Ground] = []
    for use in _named(law.uses, said.uses):
        if not claimed:
            found.append(Ground(Tier.HIGH, f"Art. 6(2), {use.point}", use.text, date))
        elif said.profiling is not False:
            why = (
                "it profiles persons, so that no derogation holds"
                if said.profiling
                else "whether it profiles persons is open, so that no derogation counts"
            )
            text = f"{use.text}; {why}"
            found.append(Ground(Tier.HIGH, f"Art. 6(3), {use.point}", text, date))
        else:
            text = (
                f"{use.text}; not high, for {claimed[0].text[0].lower()}{claimed[0].text[1:]}: "
                "the assessment must be documented, and the system registered (Art. 6(4), 49(2))"
            )
            point = f"{claimed[0].point}, {use.point}"
            found.append(Ground(Tier.MINIMAL, point, text, date))
    return found


def _open(said: PinnedAssessment) -> tuple[str, ...]:
    asked = {
        "roles": not said.roles,
        "practices": said.practices is None,
        "uses": said.uses is None,
        "products": said.products is None,
        "safety_component": bool(said.products) and said.safety_component is None,
        "third_party": bool(said.products)
        and said.safety_component is not False
        and said.third_party is None,
        "transparency": said.transparency is None,
        "profiling": bool(said.uses and said.derogation) and said.profiling is None,
        "decides": not said.decides,
        "public_service": bool(said.uses) and said.public_service is None,
        "affected": not said.affected,
    }
    return tuple(name for name, is_open in asked.items() if is_open)


def _wants_fria(said: PinnedAssessment, law: Law) -> bool:
    uses = [one for one in said.uses or () if one not in law.fria_not]
    if "provider" in said.roles and "deployer" not in said.roles:
        return False
    return any(one in law.fria for one in uses) or (bool(uses) and said.public_service is not False)


def due(duty: Duty, found: Estimate, said: PinnedAssessment) -> bool:
    """Whether a duty binds by these answers. Who did not say what he is counts as both."""
    if said.roles and not set(duty.roles) & set(said.roles):
        return False
    if duty.transparency:
        return any(item_due(one, said) for one in duty.items)
    if duty.fria:
        return found.fria
    return found.tier in (Tier.HIGH, Tier.PROHIBITED) and any(
        one.tier is Tier.HIGH for one in found.grounds
    )


def item_due(item: DutyItem, said: PinnedAssessment) -> bool:
    """Whether an item of a duty that binds does, too."""
    if item.uses:
        return bool(set(item.uses) & set(said.uses or ()))
    if item.transparency:
        return bool(set(item.transparency) & set(said.transparency or ()))
    return True


def applies(duty: Duty, item: DutyItem, found: Estimate, law: Law) -> Date | None:
    """From when an item binds: the first day of any of its grounds; None where there is none."""
    if item.date:
        return law.date(item.date)
    if duty.transparency:
        return law.date("transparency")
    days = [one.date for one in found.grounds if one.tier is Tier.HIGH and one.date is not None]
    return min(days, key=lambda one: one.day, default=None)
