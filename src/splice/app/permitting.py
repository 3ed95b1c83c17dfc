"""Permitting: what may run of the lines of a process, by the ledger once and by the clock since."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec

from splice.control.permits import Permits
from splice.core.errors import StoreError
from splice.core.validation import Permit
from splice.engine.line import Line, Step

AGAIN_S = 20.0
"""How often the ledger is asked again of what may run: a validation that fails can end it."""
BARRED_AGAIN_S = 2.0
"""How often of what may not: it was validated meanwhile, perhaps."""


class _Asked(msgspec.Struct, frozen=True):
    """What the ledger said of a line, and when by the steady clock."""

    line: Line
    permits: tuple[tuple[Step, Permit], ...]
    at_s: float


class Permitting:
    """Asks for the permits of lines, and tells from the clock alone when one has ended.

    So what has expired stops where the ledger is away, too, and no call waits for it.

    Args:
        permits: Reads the ledger; None permits all.
        now_us: Unix time in microseconds.
    """

    def __init__(self, permits: Permits | None, now_us: Callable[[], int]) -> None:
        self._permits = permits
        self._now_us = now_us
        self._asked: dict[str, _Asked] = {}

    def ask(self, line: Line) -> None:
        """Ask what of a line may run. Blocks.

        Asked of what is live and not of what is only replayed; a shadow's answers reach nobody.

        Raises:
            StoreError: The ledger cannot be read.
        """
        permits = self._permits
        if permits is None:
            return
        shadows = () if line.shadow is None else line.shadow.steps
        found = tuple(
            (step, permits(step.route, line.release, line.declaration))
            for step in line.every_step
            if not any(step is one for one in shadows)
        )
        known = tuple((step, one) for step, one in found if one != Permit())
        asked = any(one.validity for one in line.release.manifest.gates)
        if known or asked:
            self._asked[line.name] = _Asked(line, known, time.monotonic())
        else:
            self._asked.pop(line.name, None)

    def barred(self, line: Line) -> dict[int, str]:
        """By id of the step, why it may not run now. Also says of the line whether it answers."""
        asked = self._asked.get(line.name)
        if asked is None or asked.line is not line:
            return {}
        now_us = self._now_us()
        found: dict[int, str] = {}
        ended = ""
        for step, permit in asked.permits:
            why = permit.at(now_us)
            if why:
                found[id(step)] = why
                if permit.refuses and any(step is one for one in line.steps):
                    ended = why
        line.ended = ended
        return found

    def due(self, lines: Iterable[Line]) -> list[Line]:
        """Lines of which the ledger is to be asked again."""
        now_s = time.monotonic()
        return [line for line in lines if self._is_due(line, now_s)]

    def _is_due(self, line: Line, now_s: float) -> bool:
        asked = self._asked.get(line.name)
        if asked is None or asked.line is not line:
            return False
        rest = BARRED_AGAIN_S if self.barred(line) else AGAIN_S
        return now_s - asked.at_s >= rest

    def ask_again(self, lines: Iterable[Line]) -> None:
        """Ask again; where the ledger is away, what it said before stands. Blocks."""
        for line in lines:
            try:
                self.ask(line)
            except StoreError:
                asked = self._asked[line.name]
                self._asked[line.name] = _Asked(line, asked.permits, time.monotonic())
