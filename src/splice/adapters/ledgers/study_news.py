"""Outcomes that came since a study looked last, each once or a little more often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, func, select

from splice.adapters.ledgers.tables import outcomes

_BEHIND = 5_000  # numbers: whoever took one may commit it after later ones
_LATE_US = 120_000_000  # so long after, at the most

LedgerRow: TypeAlias = Any  # the driver types its columns, and names them


class News:
    """Outcomes of some names, and up to which number they were all seen.

    Args:
        integration: Whose outcomes.
        names: Which outcomes.
        after: The number that was seen last.
        looked_us: When that was.
    """

    def __init__(self, integration: str, names: Sequence[str], after: int, looked_us: int) -> None:
        self._mine = (outcomes.c.integration == integration, outcomes.c.name.in_(names))
        self._after = after
        self._looked_us = looked_us
        self.number = after
        self.more = False

    def read(self, connection: Connection, limit: int) -> Sequence[LedgerRow]:
        """Their numbers, calls, entities and times; sets how far that is, and whether more wait."""
        columns = (outcomes.c.id, outcomes.c.call_id, outcomes.c.entity, outcomes.c.at_us)
        top = connection.execute(select(func.max(outcomes.c.id))).scalar() or 0
        new = select(*columns).where(outcomes.c.id > self._after, outcomes.c.id <= top, *self._mine)
        rows = connection.execute(new.order_by(outcomes.c.id).limit(limit)).all()
        self.more = len(rows) == limit
        self.number = rows[-1].id if self.more else max(top, self._after)
        late = select(*columns).where(
            outcomes.c.id > self._after - _BEHIND,
            outcomes.c.id <= self._after,
            outcomes.c.received_us >= self._looked_us - _LATE_US,
            *self._mine,
        )
        return [*rows, *connection.execute(late)]
