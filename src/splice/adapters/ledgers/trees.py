"""Merkle trees in SQL: tiles of 256 hashes, which grow at the end of each level.

A tile of level 0 keeps hashes of leaves; one of level 1 the roots of full tiles of level 0, and so
on: 32 bytes a leaf, and a proof reads a handful of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Connection

from splice.adapters.ledgers.database import Database
from splice.core import merkle
from splice.core.merkle import TILE, WIDTH

_SIZE = "SELECT size FROM trees WHERE name = :name"
_GROW = "UPDATE trees SET size = :size WHERE name = :name"
_TILE = "SELECT hashes FROM tree_tiles WHERE tree = :tree AND level = :level AND place = :place"
_KEEP = """
INSERT INTO tree_tiles (tree, level, place, hashes) VALUES (:tree, :level, :place, :hashes)
ON CONFLICT (tree, level, place) DO UPDATE SET hashes = excluded.hashes
"""
_TILES = 512  # that a reader remembers: 4 MiB


class Tree:
    """One tree of the ledger: `calls` or `events`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name
        sql = database.sql
        self._size, self._grow, self._tile, self._keep = map(sql, (_SIZE, _GROW, _TILE, _KEEP))

    def size(self, connection: Connection) -> int:
        """How many leaves it has."""
        found = connection.exec_driver_sql(self._size, {"name": self.name}).scalar()
        return 0 if found is None else int(found)

    def tile(self, connection: Connection, level: int, place: int) -> bytes:
        """The hashes of a tile, one after the other; none where it is not there."""
        params = {"tree": self.name, "level": level, "place": place}
        found = connection.exec_driver_sql(self._tile, params).scalar()
        return b"" if found is None else bytes(found)

    def add(self, connection: Connection, leaves: Sequence[bytes]) -> int:
        """Add hashes of leaves within a transaction that holds the lock `trees`.

        Gives the index of the first of them.

        Raises:
            StoreError: What is there is cut off: the tree was changed by others.
        """
        first = start = self.size(connection)
        level, row = 0, b"".join(leaves)
        while row:
            place, kept = divmod(start, TILE)
            last = self.tile(connection, level, place) if kept else b""
            if len(last) != kept * WIDTH:
                raise self._database.place.error(
                    f"tile {place} of level {level} of the tree of {self.name} cut off or changed",
                    "splice audit verify says what else was changed",
                )
            body, full = last + row, list[bytes]()
            for at in range(0, len(body), TILE * WIDTH):
                hashes = body[at : at + TILE * WIDTH]
                number = place + at // (TILE * WIDTH)
                values = {"tree": self.name, "level": level, "place": number, "hashes": hashes}
                self._database.run(connection, self._keep, values)
                if len(hashes) == TILE * WIDTH:
                    full.append(merkle.perfect(merkle.split(hashes)))
            level, start, row = level + 1, place, b"".join(full)
        size = first + len(leaves)
        self._database.run(connection, self._grow, {"size": size, "name": self.name})
        return first

    def subtree(self, connection: Connection) -> merkle.Subtree:
        """Its perfect subtrees, as this connection sees them."""

        @lru_cache(maxsize=_TILES)
        def tile(level: int, place: int) -> bytes:
            return self.tile(connection, level, place)

        return merkle.of_tiles(tile)
