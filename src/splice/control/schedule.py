"""When a scheduled run is due: each moment once, a missed one late, and never two for one."""

from __future__ import annotations

import msgspec

from splice.core.schedule import Schedule, last_slot

SKEW_US = 3_600_000_000
"""How far the clocks of two processes may differ. A moment that was taken lies further ahead only
where a clock was wrong by more, and has been put right since."""


class Due(msgspec.Struct, frozen=True):
    """What a look at a schedule finds: a moment that is due, or from when on it must count."""

    slot_us: int | None = None
    count_from_us: int | None = None
    clock_was_set: bool = False


def due(schedule: Schedule, newest_us: int | None, now_us: int) -> Due:
    """What to do about a schedule now.

    Of several moments that were missed only the newest is due: what they would have done is the
    same. A schedule that nobody has seen before counts from now on: it does not run because of a
    moment before it was written.

    Args:
        schedule: The schedule.
        newest_us: The newest moment that was taken; None where the schedule was never seen.
        now_us: Unix time in microseconds.
    """
    slot = last_slot(schedule, now_us)
    if newest_us is None:
        return Due(count_from_us=slot)
    if newest_us > now_us + SKEW_US:
        return Due(count_from_us=slot, clock_was_set=True)
    return Due(slot_us=slot) if slot > newest_us else Due()
