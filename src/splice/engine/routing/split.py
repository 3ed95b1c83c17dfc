"""Split: the variant of a call, the same for the same entity: held out, or as a rollout says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.core.rollout import CHAMPION, place
from splice.engine.line import Arm, Picked, Step
from splice.ports.flags import Flags


class Held(msgspec.Struct, frozen=True):
    """Who is held out of everything, in ten-thousandths by a salt of its own, and what he gets."""

    salt: str
    share: int
    arm: Arm


class Split:
    """The variants of a release.

    Args:
        salt: What places are hashed with: while it stays, everybody keeps his place.
        champion: The release's own routes.
        others: Variants with their shares in ten-thousandths, from the lower end of the scale on.
        flag: Names the flag that picks instead, where there is one.
        flags: Reads it.
        held: Who is held out; nobody where it is None.
    """

    def __init__(
        self,
        salt: str,
        champion: tuple[Step, ...],
        others: Sequence[tuple[Arm, int]],
        flag: str = "",
        flags: Flags | None = None,
        held: Held | None = None,
    ) -> None:
        self.salt = salt
        self.champion = Arm(CHAMPION, champion)
        self._edges: list[tuple[int, Arm]] = []
        edge = 0
        for arm, share in others:
            edge += share
            self._edges.append((edge, arm))
        held_out = () if held is None else (held.arm,)
        every = (self.champion, *(one for one, _ in others), *held_out)
        self._arms = {arm.name: arm for arm in every}
        self._held = held
        self.flag = flag
        self._flags = flags

    @property
    def waits(self) -> bool:
        """Whether picking may have to wait for somebody."""
        return bool(self.flag) and self._flags is not None

    @property
    def arms(self) -> list[Arm]:
        """All variants, the champion first."""
        return list(self._arms.values())

    def arm(self, who: str) -> Arm:
        """The variant of an entity, or of a call without one (then `who` is its id)."""
        here = place(self.salt, who)
        for edge, arm in self._edges:
            if here < edge:
                return arm
        return self.champion

    def held(self, entity: str) -> Arm | None:
        """What an entity gets that is held out; None for everybody else."""
        held = self._held
        if held is None or place(held.salt, entity) >= held.share:
            return None
        return held.arm

    def named(self, name: str) -> Arm:
        """A variant by the name that a record has; the champion where there is none of it now."""
        return self._arms.get(name, self.champion)

    async def flagged(self, who: str, facts: Mapping[str, Any]) -> Picked:
        """The variant that the flag names, with a note where it named none.

        `champion` and `off` mean the release's own routes.
        """
        flags = self._flags
        said = None if flags is None else await flags.variant(self.flag, who, facts)
        if said is None:
            return Picked(self.arm(who), f"flag {self.flag} said nothing: the share decided")
        if said == "off":
            return Picked(self.champion)
        found = self._arms.get(said)
        if found is None:
            note = f"flag {self.flag} named {said[:40]!r}, which is no variant"
            return Picked(self.champion, note)
        return Picked(found)
