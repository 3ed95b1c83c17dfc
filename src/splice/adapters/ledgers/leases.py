"""Leases in SQL."""

from __future__ import annotations

from sqlalchemy import delete, or_, update

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import leases


class SqlLeases:
    """A LeaseStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_lease(self, name: str, holder: str, now_us: int, lease_us: int) -> bool:
        """Take it, or keep it where `holder` has it already; False where another holds it."""
        values = {"name": name, "holder": holder, "until_us": now_us + lease_us}
        # Nobody takes it for longer: what is further off was written by a clock that is ahead.
        absurd = leases.c.until_us > now_us + lease_us
        free = or_(leases.c.holder == holder, leases.c.until_us <= now_us, absurd)
        with self._database.write() as connection:
            if connection.execute(self._database.insert_new(leases), values).rowcount == 1:
                return True
            taken = update(leases).where(leases.c.name == name, free).values(values)
            return connection.execute(taken).rowcount == 1

    def give_lease(self, name: str, holder: str) -> None:
        """Give it back before its time; nothing where another holds it."""
        mine = (leases.c.name == name, leases.c.holder == holder)
        with self._database.write() as connection:
            connection.execute(delete(leases).where(*mine))
