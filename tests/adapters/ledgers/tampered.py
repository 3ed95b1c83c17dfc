"""A ledger with signed heads, somebody who writes past all of it, and what verification says."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

from splice.adapters.heads.files import HeadFile
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.adapters.ledgers.trees import Tree
from splice.control.checkpoints import Checkpointer, Pace
from splice.control.signing import Signer, new_key
from splice.control.verifying import Verifier
from splice.core.audit import FIRST, Origin, acting
from splice.core.call import Record
from splice.core.heads import Note, notes
from splice.core.inspection import Inspection
from splice.core.merkle import leaf_hash
from splice.testing.contracts.checkpoints import sequence_all
from splice.testing.contracts.records import simple_record

TABLES = (
    "audit_events", "calls", "blocks", "call_kinds", "trees", "tree_tiles", "tree_calls",
    "tree_heads",
)  # fmt: skip
NOW_US = 1_800_000_000_000_000


class House:
    """A ledger of 90 calls and 12 events under three heads, and a file with those heads."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        secret, self.key = new_key("acme/ledger")
        self.signer = Signer(secret, "the key")
        self.heads = HeadFile(folder / "heads.txt")
        self.calls: list[Record] = []
        self.ledger = self.opened()
        rng = random.Random(5)
        for step in range(3):
            with acting(Origin("cli", "10.0.0.1", "host", "splice stop")):
                for n in range(4):
                    self.ledger.audit.add_event(
                        "integration.stop", f"claims-{n}", by="ada", now_us=NOW_US + step,
                        why="a test", details={"n": n}, before={"stopped": False}, after=[step],
                    )  # fmt: skip
            calls = [simple_record(rng) for _ in range(30)]
            self.calls += calls
            self.ledger.records.append(calls)
            self.head(NOW_US + step)
        sequence_all(self.ledger.checkpoints)

    def opened(self) -> Ledger:
        return open_ledger(self.url, self.folder / "blobs", migrate=False)

    def checkpointer(self, ledger: Ledger | None = None) -> Checkpointer:
        store = (ledger or self.ledger).checkpoints
        return Checkpointer(store, self.signer, self.heads, Pace())

    def head(self, now_us: int) -> Note | None:
        return self.checkpointer().make(now_us)

    def verified(self, kept: Sequence[Note] = (), *, outside: bool = True) -> Inspection:
        """As a process says that starts now, which has read nothing of it before."""
        ledger = self.opened()

        def own() -> list[Note]:
            return ledger.checkpoints.heads()

        sources = {"the ledger": own, "the head that was kept": lambda: list(kept)}
        if outside:
            sources["the file"] = lambda: notes((self.folder / "heads.txt").read_text())
        try:
            store, audit = ledger.checkpoints, ledger.audit
            return Verifier(store, audit, lambda ids: {}, self.key, sources).verify()
        finally:
            ledger.close()

    def engine(self) -> Engine:
        return create_engine(self.url.replace("postgresql://", "postgresql+psycopg://"))

    @contextmanager
    def written_past(self) -> Iterator[Connection]:
        """A connection of somebody who may do anything, and keeps no trigger from nothing."""
        engine = self.engine()
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET session_replication_role = replica"))
                yield connection
            else:
                triggers = connection.execute(
                    text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                ).all()
                for name, _ in triggers:
                    connection.execute(text(f"DROP TRIGGER {name}"))
                yield connection
                for _, sql in triggers:
                    connection.execute(text(sql))
        engine.dispose()

    def keep(self) -> None:
        """Copies of all tables, to be put back."""
        with self.written_past() as connection:
            for table in TABLES:
                connection.execute(text(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}"))

    def put_back(self) -> None:
        with self.written_past() as connection:
            for table in TABLES:
                connection.execute(text(f"DELETE FROM {table}"))
                connection.execute(text(f"INSERT INTO {table} SELECT * FROM kept_{table}"))

    def id_of(self, index: int) -> Any:
        """The id of a call as a parameter."""
        call_id = self.calls[index].call_id
        return call_id if "postgres" in self.url else bytes.fromhex(call_id.replace("-", ""))


def tree_anew(connection: Connection, ledger: Ledger, name: str, leaves: list[bytes]) -> None:
    """A tree over other leaves, as if it had always been so."""
    connection.execute(text("DELETE FROM tree_tiles WHERE tree = :name"), {"name": name})
    connection.execute(text("UPDATE trees SET size = 0 WHERE name = :name"), {"name": name})
    Tree(ledger._database, name).add(connection, leaves)


def chain_anew(connection: Connection, ledger: Ledger) -> list[bytes]:
    """All hashes of all events as they would be, had they always been so; their leaves."""
    previous, leaves = FIRST, list[bytes]()
    for event in ledger.audit.events():
        values: dict[str, Any] = {"number": event.number, "previous": previous}
        told = event.canonical().replace(event.previous.encode(), previous.encode())
        values["sha256"] = previous = hashlib.sha256(told).hexdigest()
        connection.execute(
            text("UPDATE audit_events SET previous = :previous, sha256 = :sha256 "
                 "WHERE number = :number"), values,
        )  # fmt: skip
        leaves.append(leaf_hash(told))
    return leaves
