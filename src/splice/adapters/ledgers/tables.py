"""The tables of the ledger, as SQLAlchemy Core sees them.

What only one database has (partitions, triggers, row ids) is in `migrations`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.types import TypeEngine

from splice.core.ids import id_bytes, id_text


class CallId(TypeDecorator[str]):
    """A call id: 16 bytes in SQLite, a uuid in PostgreSQL, and always our text in Python."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """A uuid where the database has one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Uuid(as_uuid=False))
        return dialect.type_descriptor(LargeBinary())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """What the driver takes."""
        if value is None or dialect.name == "postgresql":
            return value
        return id_bytes(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """The canonical text."""
        if value is None or dialect.name == "postgresql":
            return value
        return id_text(value)


class Words(TypeDecorator[str]):
    """Text. PostgreSQL has no NUL character: there it becomes the picture of one, U+2400."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What the driver takes."""
        if value is not None and dialect.name == "postgresql":
            return without_nul(value)
        return value


def without_nul(text: str) -> str:
    """The text as PostgreSQL can hold it."""
    return text.replace("\0", "\u2400")


metadata = MetaData()

# What calls have in common is a handful of combinations: a call names its combination by number.
kinds = Table(
    "call_kinds", metadata,
    Column("id", Integer, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("release", Integer, nullable=False),
    Column("status", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("surface", Words, nullable=False),
    Column("route", Words, nullable=False),
    Column("variant", Words, nullable=False),
    Column("version", Words, nullable=False),
)  # fmt: skip

calls = Table(
    "calls", metadata,
    Column("id", CallId, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("caller", Words, nullable=False),
    Column("entity", Words),
    Column("cost_nano", BigInteger),
    Column("place", BigInteger, nullable=False),  # block * SLOTS + slot, see payloads.py
)  # fmt: skip

blocks = Table(
    "blocks", metadata,
    Column("day", Integer, primary_key=True),  # of the call ids within, days since 1970
    Column("id", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)  # fmt: skip

counters = Table(
    "counters", metadata,
    Column("name", Words, primary_key=True),
    Column("next", BigInteger, nullable=False),
)  # fmt: skip

claims = Table(
    "claims", metadata,
    Column("integration", Words, primary_key=True),
    Column("caller", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("call_id", CallId, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("archived", Integer),  # 1 once the answer of that call is in a file of the archive
)  # fmt: skip

outcomes = Table(
    "outcomes", metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of everything but `received_us`
    Column("integration", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("value", Words, nullable=False),  # JSON
    Column("at_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("call_id", CallId),
    Column("entity", Words),
    Column("source", Words, nullable=False),
)  # fmt: skip

bundles = Table(
    "bundles", metadata,
    Column("sha256", Words, primary_key=True),
    Column("body", LargeBinary, nullable=False),  # JSON, zstd
)  # fmt: skip

releases = Table(
    "releases", metadata,
    Column("integration", Words, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("manifest", Words, nullable=False),  # JSON
    Column("digest", Words, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("why", Words, nullable=False),
)  # fmt: skip

heads = Table(
    "heads", metadata,
    Column("integration", Words, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("stopped", Words, nullable=False),
)  # fmt: skip

release_events = Table(
    "release_events", metadata,
    Column("id", Integer, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("event", Words, nullable=False),  # go_live, stop, start
    Column("number", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("why", Words, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)  # fmt: skip

models = Table(
    "models", metadata,
    Column("name", Words, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", Words, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("format", Words, nullable=False),
    Column("signature", Words, nullable=False),  # JSON
    Column("created_us", BigInteger, nullable=False),
    Column("source", Words, nullable=False),
    Column("withdrawn", Words, nullable=False),
    Column("card", Words, nullable=False),  # JSON, and so the next
    Column("lineage", Words, nullable=False),
)  # fmt: skip

aliases = Table(
    "model_aliases", metadata,
    Column("name", Words, primary_key=True),
    Column("alias", Words, primary_key=True),
    Column("version", Integer, nullable=False),
)  # fmt: skip

api_keys = Table(
    "api_keys", metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("digest", Words, nullable=False),
    Column("team", Words, nullable=False),
    Column("tenant", Words, nullable=False),
    Column("integrations", Words, nullable=False),  # JSON, and so the next two
    Column("models", Words, nullable=False),
    Column("addresses", Words, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("grants", Words, nullable=False),  # JSON
    Column("former", Words, nullable=False),
    Column("former_until_us", BigInteger),
)  # fmt: skip

budgets = Table(
    "budgets", metadata,
    Column("scope", Words, primary_key=True),
    Column("of", Words, primary_key=True),
    Column("period", Words, primary_key=True),
    Column("amount_nano", BigInteger, nullable=False),
)  # fmt: skip

alias_events = Table(
    "alias_events", metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Words, nullable=False),
    Column("alias", Words, nullable=False),
    Column("version", Integer, nullable=False),
    Column("by", Words, nullable=False),
    Column("why", Words, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)  # fmt: skip

audit_events = Table(
    "audit_events", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("why", Words, nullable=False),
    Column("details", Words, nullable=False),  # JSON
    Column("previous", Words, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("before", Words, nullable=False),  # JSON, and so the next two
    Column("after", Words, nullable=False),
    Column("origin", Words, nullable=False),
)  # fmt: skip

validations = Table(
    "validations", metadata,
    Column("digest", Words, primary_key=True),
    Column("model", Words, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON
)  # fmt: skip

approvals = Table(
    "approvals", metadata,
    Column("id", Integer, primary_key=True),
    Column("validation", Words, nullable=False),
    Column("body", Words, nullable=False),  # JSON
)  # fmt: skip

leases = Table(
    "leases", metadata,
    Column("name", Words, primary_key=True),
    Column("holder", Words, nullable=False),
    Column("until_us", BigInteger, nullable=False),
)  # fmt: skip

pipeline_runs = Table(
    "pipeline_runs", metadata,
    Column("id", Words, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("state", Words, nullable=False),  # asked, running, done, failed, refused
    Column("asked_us", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("body", Words, nullable=False),  # JSON
)  # fmt: skip

pipeline_slots = Table(
    "pipeline_slots", metadata,
    Column("integration", Words, primary_key=True),
    Column("schedule", Words, primary_key=True),
    Column("slot_us", BigInteger, nullable=False),  # the newest moment that was taken
)  # fmt: skip
